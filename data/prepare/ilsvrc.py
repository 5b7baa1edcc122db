"""ImageNet's official archives (ILSVRC2012, classification): what they hold and where. Standard library only."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data.catalog import archive
from data.catalog.archive import AGAIN, ArchiveError, Member
from data.output_folder import some
from data.prepare import matlab

SITE = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
TRAIN_IMAGES, VAL_IMAGES, CLASSES = 1_281_167, 50_000, 1_000

META = "ILSVRC2012_devkit_t12/data/meta.mat"
TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True, slots=True)
class Devkit:
    """What the devkit says of classes, which are named by their synsets (n01440764), and of validation images."""

    train_counts: dict[str, int | None]
    """Training images of each class, sorted by synset; None where the devkit does not say."""
    truth: list[str]
    """Class of each validation image, from number 1 on."""


class Inner(NamedTuple):
    """The archive of one class within the archive of all training images."""

    path: Path
    wnid: str
    offset: int
    size: int


def read_devkit(path: Path) -> Devkit:
    """Read ILSVRC2012_devkit_t12.tar.gz.

    Raises:
        ArchiveError: It is damaged, or something else.
        OSError: It cannot be read.
    """
    try:
        with archive.unzipped(path) as stream:
            files = archive.members(stream, str(path))
            found = {file.name: stream.read(file.size) for file in files if file.name in (META, TRUTH)}
            archive.drain(stream)
        meta, truth = found[META], found[TRUTH]
        leaves = [row for row in matlab.structures(meta, "synsets") if _number(row, "num_children") == 0]
        wnids = {_number(row, "ILSVRC2012_ID"): str(row["WNID"]) for row in leaves}
        counts = {str(row["WNID"]): _number(row, "num_train_images") for row in leaves}
        return Devkit(dict(sorted(counts.items())), [wnids[int(line)] for line in truth.split()])
    except ArchiveError:
        raise
    except KeyError as error:
        raise ArchiveError(f"{path}: no ILSVRC2012 devkit: lacks {error}; see {SITE}") from None
    except (OverflowError, ValueError) as error:
        raise ArchiveError(f"{path}: no ILSVRC2012 devkit, or a damaged one: {error}; {AGAIN}") from None


def classes_in(path: Path) -> Iterator[Inner]:
    """List the archives in ILSVRC2012_img_train.tar.

    Raises:
        ArchiveError: It is damaged, or something else.
        OSError: It cannot be read.
    """
    for member in archive.plain(path):
        if not re.fullmatch(r"n\d{8}\.tar", member.name):
            raise ArchiveError(f"{path}: {member.name} is not the archive of a class, as n01440764.tar would be")
        yield Inner(path, member.name.removesuffix(".tar"), member.offset, member.size)


def images_of(inner: Inner) -> list[Member]:
    """The images of one class; offsets count from the beginning of the outer archive.

    Raises:
        ArchiveError: It is damaged, or something else.
        OSError: It cannot be read.
    """
    label = f"{inner.path}: {inner.wnid}.tar"
    with inner.path.open("rb", buffering=0) as stream:
        stream.seek(inner.offset)
        images = list(archive.members(stream, label, inner.offset + inner.size))
    for member in images:
        if not re.fullmatch(rf"{inner.wnid}_\d+\.JPEG", member.name):
            raise ArchiveError(f"{label}: {member.name} is no image of this class, as {inner.wnid}_10026.JPEG would be")
    return images


def val_images(path: Path) -> dict[int, Member]:
    """The images in ILSVRC2012_img_val.tar by their number, from 1 on.

    Raises:
        ArchiveError: It is damaged, or something else.
        OSError: It cannot be read.
    """
    images: dict[int, Member] = {}
    for member in archive.plain(path):
        match = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", member.name)
        if not match:
            raise ArchiveError(f"{path}: {member.name} is no image, as {val_name(1)} would be")
        images[int(match[1])] = member
    return images


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def problems(devkit: Devkit, train: dict[str, int], val: Collection[int], *, partial: bool) -> list[str]:
    """Why archives cannot be made a data set, one line each, for the user; with `partial`, a part of ImageNet can.

    `train` has the number of images of each class, `val` the numbers of the validation images.
    """
    every = [*_unknown(devkit, train, val), *_empty(devkit, train, val)]
    if not partial and (incomplete := [*_devkit(devkit), *_train(devkit, train), *_val(val)]):
        every += [*incomplete, "to prepare a part of ImageNet all the same, add --partial"]
    return every


def _number(row: dict[str, matlab.Value], field: str) -> int | None:
    """A field's single number; None where there is no such field."""
    match row.get(field):
        case (float() | int() as number,):
            return int(number)
        case None:
            return None
        case other:
            raise ValueError(f"{field} is {other!r}, no number")


def _unknown(devkit: Devkit, train: dict[str, int], val: Collection[int]) -> list[str]:
    unknown = sorted(train.keys() - devkit.train_counts.keys())
    beyond = [val_name(number) for number in sorted(val) if not 1 <= number <= len(devkit.truth)]
    return [
        *([f"--train-tar: {some(unknown)}: no class of the devkit"] if unknown else []),
        *([f"--val-tar: {some(beyond)}: the devkit has the classes of 1 to {len(devkit.truth):,}"] if beyond else []),
    ]


def _empty(devkit: Devkit, train: dict[str, int], val: Collection[int]) -> list[str]:
    if not train:
        return ["--train-tar: holds no class"]
    without = [wnid for wnid, count in train.items() if not count]
    seen = {devkit.truth[number - 1] for number in val if 1 <= number <= len(devkit.truth)}
    unseen = sorted(train.keys() - seen)
    return [
        *([f"--train-tar: no image of {some(without)}"] if without else []),
        *([f"--val-tar: no image of {some(unseen)}, which --train-tar holds"] if unseen else []),
    ]


def _devkit(devkit: Devkit) -> list[str]:
    classes, images = len(devkit.train_counts), len(devkit.truth)
    if (classes, images) == (CLASSES, VAL_IMAGES):
        return []
    has = f"classes: {classes:,}, validation images: {images:,}"
    return [f"--devkit: {has}; ImageNet has {CLASSES:,} and {VAL_IMAGES:,}"]


def _train(devkit: Devkit, train: dict[str, int]) -> list[str]:
    """The totals must be right; the devkit's counts of each class only show where images are missing."""
    total = sum(train.values())
    if (len(train), total) == (CLASSES, TRAIN_IMAGES):
        return []
    absent = sorted(devkit.train_counts.keys() - train.keys())
    differing = [
        f"{wnid} ({train[wnid]:,} of {count:,})"
        for wnid, count in devkit.train_counts.items()
        if count is not None and train.get(wnid, count) != count
    ]
    has = f"classes: {len(train):,}, images: {total:,}"
    return [
        f"--train-tar: {has}; ImageNet has {CLASSES:,} and {TRAIN_IMAGES:,}",
        *([f"--train-tar: lacks {some(absent)}"] if absent else []),
        *([f"--train-tar: holds other counts than the devkit: {some(differing)}"] if differing else []),
    ]


def _val(val: Collection[int]) -> list[str]:
    absent = [val_name(number) for number in sorted(set(range(1, VAL_IMAGES + 1)) - set(val))]
    return [f"--val-tar: lacks {some(absent)}"] if absent else []

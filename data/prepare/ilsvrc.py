"""ImageNet's official archives (ILSVRC2012, classification): what they hold and where. Standard library only."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data.catalog import archive
from data.catalog.archive import AGAIN, ArchiveError, Member
from data.prepare import matlab

SITE = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"
TRAIN_IMAGES, VAL_IMAGES, CLASSES = 1_281_167, 50_000, 1_000

META = "ILSVRC2012_devkit_t12/data/meta.mat"
TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True, slots=True)
class Devkit:
    """The classes, named by their synsets (n01440764), and those of the validation images."""

    train_counts: dict[str, int | None]
    """Training images of each class, sorted by synset; None where the devkit does not say."""
    truth: list[str]
    """Class of each validation image; that of number 1 comes first."""


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
        with archive.unzipped(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            meta, truth = (_content(tar, name) for name in (META, TRUTH))
            archive.drain(stream)
        leaves = [row for row in matlab.structures(meta, "synsets") if _number(row, "num_children") == 0]
        wnids = {_number(row, "ILSVRC2012_ID"): str(row["WNID"]) for row in leaves}
        counts = {str(row["WNID"]): _number(row, "num_train_images") for row in leaves}
        return Devkit(dict(sorted(counts.items())), [wnids[int(line)] for line in truth.split()])
    except ArchiveError:
        raise
    except KeyError as error:
        raise ArchiveError(f"{path}: no ILSVRC2012 devkit: lacks {error}; see {SITE}") from None
    except (tarfile.TarError, ValueError) as error:
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
        found = list(archive.members(stream, label, inner.offset + inner.size))
    for member in found:
        if not re.fullmatch(rf"{inner.wnid}_\d+\.JPEG", member.name):
            raise ArchiveError(f"{label}: {member.name} is no image of this class, as {inner.wnid}_10026.JPEG would be")
    return found


def val_images(path: Path) -> dict[int, Member]:
    """The images in ILSVRC2012_img_val.tar by their number, from 1 on.

    Raises:
        ArchiveError: It is damaged, or something else.
        OSError: It cannot be read.
    """
    found: dict[int, Member] = {}
    for member in archive.plain(path):
        match = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", member.name)
        if not match:
            raise ArchiveError(f"{path}: {member.name} is no image, as {val_name(1)} would be")
        found[int(match[1])] = member
    return found


def val_name(number: int) -> str:
    """File of a validation image."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(f"the file {name}")
    return stream.read()


def _number(row: dict[str, matlab.Value], field: str) -> int | None:
    """A field's single number; None where there is no such field."""
    match row.get(field):
        case (float() | int() as number,):
            return int(number)
        case None:
            return None
        case other:
            raise ValueError(f"{field} is {other!r}, no number")

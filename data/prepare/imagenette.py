"""Turns fast.ai's archives of ten of ImageNet's classes, Imagenette and Imagewoof, into a tree of images."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.catalog import archive
from data.catalog.archive import ArchiveError, Member
from data.catalog.listing import SPLITS
from data.catalog.tree import is_image
from data.output_folder import RefusedError, refuse, some
from data.prepare import unpack
from data.prepare.prepared import Prepared, Source, start
from data.types import Watch, in_silence

SITE = "https://github.com/fastai/imagenette"

Name = Literal["imagenette", "imagewoof"]


@dataclass(frozen=True, slots=True)
class Official:
    """What the archives of a data set's second version hold, at any image size."""

    classes: tuple[str, ...]
    train: int
    val: int


# counts of the split of December 2019: TensorFlow Datasets' and Hugging Face's catalogues of both sets
OFFICIAL: dict[Name, Official] = {
    "imagenette": Official(
        (
            *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
            *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
        ),
        train=9469,
        val=3925,
    ),
    "imagewoof": Official(
        (
            *("n02086240", "n02087394", "n02088364", "n02089973", "n02093754"),
            *("n02096294", "n02099601", "n02105641", "n02111889", "n02115641"),
        ),
        train=9025,
        val=3929,
    ),
}


def prepare(root: Path, path: Path, name: Name, *, partial: bool = False, watch: Watch = in_silence) -> Prepared:
    """Write ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG, or the images that are missing there.

    The archive is read twice: to check it, and to write.

    Args:
        root: Folder to fill: absent, empty, or begun from the same archive.
        path: imagenette2.tgz, imagenette2-320.tgz, imagewoof2-160.tgz and so on.
        name: Which of the two it is.
        partial: Accept other classes and counts, such as those of the first version.
        watch: Shows the progress of each phase.

    Raises:
        RefusedError: The archive or the folder cannot be used; one line for each problem. Nothing was written.
        OSError: A file cannot be read or written. The same call continues from there.
    """
    source = Source(name=name, archives={"--archive": path}, where=SITE, options={"partial": partial})
    target, contents = start(root, source, SPLITS)
    if contents:
        return Prepared(contents=contents, written=0)
    try:
        images = _images(path, OFFICIAL[name].train + OFFICIAL[name].val, watch)
    except ArchiveError as error:
        raise RefusedError(str(error)) from None
    refuse(_problems(images, name, partial=partial))
    folders = {f"{split}/{wnid}": members for split in SPLITS for wnid, members in sorted(images[split].items())}
    return unpack.fill(target, folders, lambda missing: unpack.zipped(path, root, missing), watch)


def _images(path: Path, expected: int, watch: Watch) -> dict[str, dict[str, list[Member]]]:
    """The images of the archive by split and class, with the names of the files alone."""
    images: dict[str, dict[str, list[Member]]] = {split: {} for split in SPLITS}
    tops: set[str] = set()
    count = 0
    with archive.unzipped(path) as stream, watch("check", "images") as progress:
        for member in archive.members(stream, str(path)):
            # the archive has other files too, some of them hidden
            match = re.fullmatch(r"([^/]+)/(train|val)/([^/.][^/]*)/([^/.][^/]*)", member.name)
            if match and is_image(member.name):
                top, split, wnid, name = match.groups()
                tops.add(top)
                images[split].setdefault(wnid, []).append(Member(name, member.offset, member.size))
                progress(count := count + 1, max(count, expected))
        archive.drain(stream)
    if len(tops) > 1:
        raise ArchiveError(f"{path}: holds more than one data set: {some(sorted(tops))}")
    return images


def _problems(images: dict[str, dict[str, list[Member]]], name: Name, *, partial: bool) -> list[str]:
    official, train, val = OFFICIAL[name], images["train"], images["val"]
    if not train:
        return ["--archive: holds no image like imagenette2/train/n01440764/x.JPEG"]
    differing = sorted(train.keys() ^ val.keys())
    problems = [f"--archive: {some(differing)}: in one of train and val only"] if differing else []
    if partial:
        return problems
    if strange := sorted(train.keys() ^ set(official.classes)):
        problems.append(f"--archive: {some(strange)}: in one of the archive and {name} only")
    counts = [sum(map(len, split.values())) for split in (train, val)]
    if counts != [official.train, official.val]:
        has = f"train images: {counts[0]:,}, val images: {counts[1]:,}"
        problems.append(f"--archive: {has}; {name} has {official.train:,} and {official.val:,}")
    return [*problems, "to prepare it all the same, add --partial"] if problems else []

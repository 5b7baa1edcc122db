"""Tar shards on disk: ROOT/train/*.tar and ROOT/val/*.tar in WebDataset's layout. Reads only their headers.

A sample is the files of one name: `a/b.jpg`, the image, and `a/b.cls`, the number of its class in digits. Other files
of that name are left alone. ROOT/classes.txt gives the classes' names, one on each line.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

from data.catalog import archive
from data.catalog.archive import ArchiveError, Member
from data.catalog.listing import Entry, Listing
from data.catalog.pack_record import CLASSES, RECORD, unfinished
from data.catalog.tree import EXTENSIONS
from data.output_folder import some

THREADS = 8  # on a network file system most of the time is spent waiting; on a local one they cost nothing
MAX_DIGITS = 6  # a million classes, as many as a network may have: each gets a name


class ShardError(ValueError):
    """Shards that cannot be used; the message names the file, the reason and the remedy."""


def exist(root: Path, split: str) -> bool:
    """Whether a split is stored as shards, or will be: an unfinished pack may have none yet."""
    return (root / RECORD).exists() or bool(_archives(root / split))


def listing(root: Path, split: str) -> Listing:
    """The images of ROOT/<split>/*.tar, each with its offset in the archive.

    Raises:
        ShardError: There are none, or one is not as it should be.
        OSError: A file cannot be read.
    """
    folder = root / split
    archives = _archives(folder)
    if reason := unfinished(root, split, archives):
        raise ShardError(reason)
    if not archives:
        raise ShardError(f"{folder} holds no *.tar file; expected {root}/train/*.tar and {root}/val/*.tar")
    with ThreadPoolExecutor(THREADS) as pool:
        entries = sorted(chain.from_iterable(pool.map(partial(_entries, folder), range(len(archives)), archives)))
    if not entries:
        raise ShardError(f"{folder} holds no image in {some([*archives])}; expected files like a.jpg and a.cls in them")
    classes = _classes(root, highest=entries[-1].target)
    return Listing(root=folder, classes=classes, entries=entries, archives=archives)


def split_name(name: str) -> tuple[str, str]:
    """Sample and extension, which begins at the first dot of the file's name, as WebDataset defines it."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return folder + slash + stem if stem else "", extension


def _archives(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob("*.tar") if not path.name.startswith(".")))


def _entries(folder: Path, number: int, file: str) -> list[Entry]:
    path = folder / file
    images: dict[str, Member] = {}
    targets: dict[str, int] = {}
    try:
        with path.open("rb", buffering=0) as stream:  # a buffer would read 8 KB for each header of 512 bytes
            for member in archive.members(stream, str(path), path.stat().st_size):
                sample, extension = split_name(member.name)
                if extension == "cls" and sample:
                    targets[sample] = _target(path, stream, member)
                elif f".{extension.lower()}" in EXTENSIONS and sample:
                    if sample in images:
                        both = f"{images[sample].name} and {member.name}"
                        raise ShardError(f"{path} holds two images of one sample, {both}; pack them again")
                    images[sample] = member
    except ArchiveError as error:
        raise ShardError(str(error)) from None
    _check_pairs(path, images, targets)
    return [Entry(targets[key], image.name, number, image.offset, image.size) for key, image in images.items()]


def _target(path: Path, stream: IO[bytes], member: Member) -> int:
    content = stream.read(min(member.size, 64))
    digits = content.strip()
    if not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise ShardError(
            f"{path}: {member.name} holds {content[:20]!r}; it must be the number of a class, from 0 to 999999"
        )
    return int(digits)


def _check_pairs(path: Path, images: dict[str, Member], targets: dict[str, int]) -> None:
    for sample in images.keys() - targets.keys():
        raise ShardError(
            f"{path}: {images[sample].name} has no {sample}.cls beside it, the number of its class; pack it again"
        )
    for sample in targets.keys() - images.keys():
        kinds = ", ".join(EXTENSIONS)
        raise ShardError(f"{path}: {sample}.cls has no image beside it, {sample} with one of {kinds}; pack it again")


def _classes(root: Path, highest: int) -> tuple[str, ...]:
    """Names from classes.txt, or else the numbers, with leading zeros so that sorting keeps their order."""
    file = root / CLASSES
    if not file.exists():
        return tuple(str(number).zfill(len(str(highest))) for number in range(highest + 1))
    names = tuple(file.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n").split("\n"))
    if highest >= len(names):
        raise ShardError(f"{file} names {len(names):,} classes, and the shards use class {highest}; add the names")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ShardError(f"{file} names {twice!r} twice; each line must be another class")
    return names

"""Images without labels, as a user names them: files, folders, tar shards, lists of paths. Standard library only."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data.catalog import archive
from data.catalog.listing import Entry, Listing
from data.catalog.tree import files, is_hidden, is_image, kind_of, left_out
from data.names import shown

STANDARD_INPUT = "-"
LIST, SHARD = ".txt", ".tar"
EXPECTED = f"name images, folders, {SHARD} files, or lists of paths in {LIST} files"


class UnusableImagesError(ValueError):
    """Images that are named cannot be read; the message names the first."""


def listing(words: Sequence[str]) -> Listing:
    """All the images, in one class, in the order in which they are named: those of a folder sorted, at any depth.

    Args:
        words: Paths. A `.txt` file, or `-` for standard input, holds one a line, relative to the current folder.

    Raises:
        UnusableImagesError: A path does not exist, holds no image, or is named twice; images lie both in files and in
            archives; an archive is damaged.
        OSError: A file or folder cannot be read.
    """
    notes = list[str]()
    names = [name for word in _paths(words) for name in _meant(Path(word), word, notes)]
    counts = Counter(os.path.normpath(Path(name).absolute()) for name in names)
    if twice := next((place for place, count in counts.items() if count > 1), None):
        raise UnusableImagesError(f"{shown(twice)} is named twice; name each image once")
    tars = [name for name in names if name.endswith(SHARD)]
    if tars and len(tars) < len(names):
        file = next(name for name in names if not name.endswith(SHARD))
        raise UnusableImagesError(f"{shown(tars[0])} is an archive and {shown(file)} is not; name one kind")
    entries = list(_inside(tars, notes)) if tars else [Entry(0, name) for name in names]
    if not entries:
        raise UnusableImagesError(f"no image is named{' in the archives' if tars else ''}; {EXPECTED}")
    return Listing(Path(), ("",), entries, archives=tuple(tars), notes=tuple(notes))


def _paths(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word == STANDARD_INPUT or (word.endswith(LIST) and Path(word).is_file()):
            content = Path("/dev/stdin" if word == STANDARD_INPUT else word).read_bytes()
            yield from filter(None, (line.removesuffix("\r") for line in os.fsdecode(content).split("\n")))
        else:
            yield word


def _meant(path: Path, word: str, notes: list[str]) -> list[str]:
    """The images and archives that a path means; adds to `notes` what a folder has besides."""
    if path.is_file():
        return [word]
    if not path.is_dir():
        problem = "is no file and no folder" if path.exists() else "does not exist"
        raise UnusableImagesError(f"{shown(word)} {problem}; {EXPECTED}")
    names, others = files(path)
    notes += others if names else ()
    tars = [tar for tar in path.rglob(f"*{SHARD}") if not any(map(is_hidden, tar.relative_to(path).parts))]
    paths = [*(str(path / name) for name in names), *sorted(map(str, tars))]
    if not paths:
        raise UnusableImagesError(f"{shown(word)} holds no image; {EXPECTED}")
    return paths


def _inside(tars: Sequence[str], notes: list[str]) -> Iterator[Entry]:
    """The images in the archives, in their order there; adds to `notes` what else there is."""
    others = Counter[str]()
    try:
        for number, tar in enumerate(tars):
            for member in archive.plain(Path(tar)):
                if any(map(is_hidden, member.name.split("/"))):
                    others["hidden"] += 1
                elif is_image(member.name):
                    yield Entry(0, member.name, number, member.offset, member.size)
                else:
                    others[kind_of(member.name)] += 1
    except archive.ArchiveError as error:
        raise UnusableImagesError(shown(error)) from None
    notes += left_out("in the archives, ", others)

"""Images without labels, as a user names them: files, folders, tar shards, lists of paths. Standard library only."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data.catalog import archive
from data.catalog.listing import Entry, Listing
from data.catalog.tree import files, is_hidden, is_image
from data.names import shown

STANDARD_INPUT = "-"
LIST, SHARD = ".txt", ".tar"
EXPECTED = f"name images, folders, {SHARD} files, or lists of paths in {LIST} files"


class UnusableImagesError(ValueError):
    """Images that are named cannot be read; the message has a line for each reason, for the user."""


def listing(words: Sequence[str]) -> Listing:
    """All the images, in one class, in the order in which they are named: those of a folder sorted, at any depth.

    Args:
        words: Paths. A `.txt` file, or `-` for standard input, holds one a line, relative to the current folder.

    Raises:
        UnusableImagesError: A path does not exist, holds no image, or is named twice; images lie both in files and in
            archives; an archive is damaged.
        OSError: A file or folder cannot be read.
    """
    names, problems, notes = list[str](), list[str](), list[str]()
    for word in _paths(words):
        found = _found(Path(word), word, notes)
        problems += [found] if isinstance(found, str) else []
        names += [] if isinstance(found, str) else found
    tars = tuple(name for name in names if name.endswith(SHARD))
    if tars and len(tars) < len(names):
        other = next(name for name in names if not name.endswith(SHARD))
        problems.append(f"{tars[0]} is an archive and {other} is not; name one kind, or predict twice")
    if problems or not names:
        raise UnusableImagesError("\n".join(map(shown, problems)) or f"no path is named; {EXPECTED}")
    _refuse_repeated(names)
    entries = list(_inside(tars)) if tars else [Entry(0, name) for name in names]
    if not entries:
        raise UnusableImagesError(f"no image in {shown(tars[0])}; {EXPECTED}")
    return Listing(root=Path(), classes=("",), entries=entries, archives=tars, notes=tuple(notes))


def _paths(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word != STANDARD_INPUT and not (word.endswith(LIST) and Path(word).is_file()):
            yield word
            continue
        lines = os.fsdecode(Path("/dev/stdin" if word == STANDARD_INPUT else word).read_bytes()).split("\n")
        yield from filter(None, (line.removesuffix("\r") for line in lines))


def _found(path: Path, word: str, notes: list[str]) -> list[str] | str:
    """The images and archives that a path means, or why there are none; adds to `notes` what is left out."""
    if path.is_file():
        return [word]
    if not path.is_dir():
        return f"{word} {'is no file and no folder' if path.exists() else 'does not exist'}; {EXPECTED}"
    names, left_out = files(path)
    images = [str(path / name) for name in names]
    notes += left_out
    images += sorted(map(str, path.rglob(f"[!.]*{SHARD}")))
    return images or f"{word} holds no image; {EXPECTED}"


def _inside(tars: Sequence[str]) -> Iterator[Entry]:
    """The images in the archives, in their order there."""
    for number, tar in enumerate(tars):
        try:
            for member in archive.plain(Path(tar)):
                if is_image(member.name) and not any(map(is_hidden, member.name.split("/"))):
                    yield Entry(0, member.name, number, member.offset, member.size)
        except archive.ArchiveError as error:
            raise UnusableImagesError(shown(error)) from None


def _refuse_repeated(names: Sequence[str]) -> None:
    places = [os.path.normpath(Path(name).absolute()) for name in names]
    counts = Counter(places)
    if twice := [name for name, place in zip(names, places, strict=True) if counts[place] > 1]:
        more = f", as {len(twice) - 1:,} others" if len(twice) > 2 else ""
        raise UnusableImagesError(f"{shown(twice[0])} is named twice{more}; name each image once")

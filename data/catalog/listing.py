"""Where the images of a split are stored, before any of them is read. Standard library only."""

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

HASH_BYTES = 16
SPLITS = ("train", "val")


def manifest_file(folder: Path, split: str) -> Path:
    """The manifest of a split, beside the data or in a run directory."""
    return folder / f"manifest-{split}.npz"


MANIFESTS = tuple(manifest_file(Path(), split).name for split in SPLITS)


class Entry(NamedTuple):
    """One image: a file, or a range of bytes in an archive."""

    target: int
    """Index of the class."""
    name: str
    """Path below the root, or name in the archive."""
    archive: int = -1
    """Index of the archive; -1 for a file."""
    offset: int = 0
    """First byte in the archive."""
    size: int = -1
    """Bytes; -1 for a file: all of it."""


class Contents(NamedTuple):
    """What there is of a split, for checks."""

    root: Path
    """Its folder."""
    classes: tuple[str, ...]
    """Sorted names."""
    empty: list[str]
    """Those of them without an image."""
    images: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of one split."""

    root: Path
    """Folder that names are relative to."""
    classes: tuple[str, ...]
    """Names of the classes, sorted: a target is an index into them."""
    entries: list[Entry]
    """Sorted by target and name."""
    archives: tuple[str, ...] = ()
    """Files below `root` that hold many images."""
    raw: tuple[int, int] | None = None
    """Width and height where every image is stored as planes of red, green and blue bytes; None: image files."""
    folders: dict[str, int] = field(default_factory=dict[str, int])
    """Folders below `root` (itself: the empty name) that were searched, each with the time of its last change, ns since
    1970; empty where the images lie in archives."""
    notes: tuple[str, ...] = ()
    """What was chosen or left out, a line each for the user."""
    rule: str = ""
    """What of the data set's layout decides which images these are, see `DataSet.rule`."""

    def contents(self) -> Contents:
        used = {entry.target for entry in self.entries}
        empty = [name for target, name in enumerate(self.classes) if target not in used]
        return Contents(self.root, self.classes, empty, len(self.entries))

    def spread(self, count: int) -> "Listing":
        """At most so many of the images, evenly spread."""
        last, most = len(self.entries) - 1, min(count, len(self.entries))
        rows = sorted({round(number * last / max(most - 1, 1)) for number in range(most)})
        return replace(self, entries=[self.entries[row] for row in rows])

    def path(self, entry: Entry) -> Path:
        """File that holds the image."""
        return self.root / (entry.name if entry.archive < 0 else self.archives[entry.archive])


def read(path: Path, offset: int, size: int) -> bytes:
    """Read an encoded image; `size` -1 reads the whole file.

    Raises:
        OSError: The file cannot be read, or ends before the image does.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        content = file.read(size)
    if size >= 0 and len(content) != size:
        raise OSError(0, f"the file ends {size - len(content)} bytes before the image does", os.fspath(path))
    return content


def digest(content: bytes) -> bytes:
    """BLAKE2b of an encoded image, HASH_BYTES long."""
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()

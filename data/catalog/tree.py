"""An image tree on disk: ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG. Standard library only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from data.catalog.listing import SPLITS, Contents, Entry, Listing
from data.types import Progress, unwatched

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's ImageFolder


@dataclass(frozen=True, slots=True)
class Tree:
    """The class folders of one split."""

    root: Path
    classes: tuple[str, ...]
    """Sorted names."""

    def count(self, most: int) -> int:
        """Number of image files, or `most` where there are more."""
        return sum(1 for _ in islice((file for name in self.classes for file in self._walk(name, {})), most))

    def contents(self, most: int) -> Contents:
        """Reads folders only as far as the first image of each class, and `most` images of all: no more are counted."""
        empty = [name for name in self.classes if not Tree(self.root, (name,)).count(1)]
        return Contents(self.root, self.classes, empty, self.count(most))

    def listing(self, progress: Progress = unwatched) -> Listing:
        """Every image of the split, sorted by class and name; `progress` counts the classes."""
        folders = {"": self.root.stat().st_mtime_ns}
        entries: list[Entry] = []
        for target, name in enumerate(self.classes):
            entries += [Entry(target, image) for image in sorted(self._walk(name, folders))]
            progress(target + 1, len(self.classes))
        return Listing(root=self.root, classes=self.classes, entries=entries, folders=folders)

    def _walk(self, folder: str, folders: dict[str, int]) -> Iterator[str]:
        folders[folder] = (
            (self.root / folder).stat().st_mtime_ns
        )  # before it is read, so that a later change can be seen
        for name, is_folder in level(self.root / folder):
            inner = f"{folder}/{name}"
            if not is_folder:
                yield inner
                continue
            images = list(self._walk(inner, folders))
            # a folder named like an image that holds no image is listed as a broken image
            yield from images or ([inner] if is_image(inner) else [])


def is_image(name: str) -> bool:
    """Whether the name of a file is that of an image."""
    return name.lower().endswith(EXTENSIONS)


def level(folder: Path) -> Iterator[tuple[str, bool]]:
    """Names of the image files (False) and folders (True) directly in a folder, in no order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                yield entry.name, True
            elif is_image(entry.name) and _is_listed(entry):
                yield entry.name, False


def _is_listed(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a broken link, which is a broken image; a pipe or a device would block its reader."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:  # a link to itself
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def listing(root: Path, split: str, progress: Progress = unwatched) -> Listing:
    """The images below ROOT/SPLIT.

    Raises:
        OSError: A folder cannot be read.
    """
    return read(root, split).listing(progress)


def read(root: Path, split: str) -> Tree:
    """List the class folders of a split, but for hidden ones."""
    folder = root / split
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return Tree(root=folder, classes=tuple(names))


def misplaced(root: Path) -> str | None:
    """Why `root` is not the folder of a data set, for the user; None where it may be one."""
    if not root.is_dir():
        return f"{root} {'is not a folder' if root.exists() else 'does not exist'}; {EXPECTED}"
    missing = [split for split in SPLITS if not (root / split).is_dir()]
    if missing:
        inner = [entry for entry in sorted(root.iterdir()) if all((entry / split).is_dir() for split in SPLITS)]
        nearby = f"; {inner[0]} has both" if inner else ""
        return f"{root} has no folder {' and no folder '.join(missing)}; {EXPECTED}{nearby}"
    return None


EXPECTED = "expected DATA/train/<class>/*.JPEG and DATA/val/<class>/*.JPEG"

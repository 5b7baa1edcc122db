"""An image tree on disk: ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG. Standard library only."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from data.catalog import foreign
from data.catalog.listing import SPLITS, Contents, Entry, Listing
from data.types import Progress, unwatched

EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),  # as torchvision's ImageFolder
    *(".jfif", ".jpe", ".gif", ".avif"),
    *(".heic", ".heif", ".jxl"),  # which Pillow does not decode: they are named as broken
)
BESIDE = frozenset(  # what operating systems and network drives put beside files
    ("@eadir", "__macosx", "thumbs.db", "desktop.ini", "#recycle", "$recycle.bin", "lost+found")
)
THREADS = 16  # that read folders: on a network file system most of the time is spent waiting
_UNCLEAR = re.compile(r"|\.(bin|dat|img|\d.*|.*[^a-z0-9].*|.{6,})")  # extensions that tell nothing of the content
_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|BM.{4}\0{4}|RIFF.{4}WEBP|II\*\0|MM\0\*|P[1-6]\s+[#\d]"
    rb"|.{4}ftyp(avi[fs]|hei[cx]|mif1)|\0{3}\x0cJXL |\xff\x0a",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Tree:
    """The class folders of one split."""

    root: Path
    classes: tuple[str, ...]
    """Sorted names."""

    def count(self, most: int) -> int:
        """Number of image files, or `most` where there are more."""
        search = _Search(self.root)
        return sum(1 for _ in islice((file for name in self.classes for file in search.images(name)), most))

    def contents(self, most: int) -> Contents:
        """Reads folders only as far as the first image of each class, and `most` images of all: no more are counted."""
        empty = [name for name in self.classes if not Tree(self.root, (name,)).count(1)]
        return Contents(self.root, self.classes, empty, self.count(most))

    def listing(self, progress: Progress = unwatched) -> Listing:
        """Every image of the split, sorted by class and name; `progress` counts the classes."""
        search = _Search(self.root)
        search.folders[""] = self.root.stat().st_mtime_ns
        loose = [name for name, is_folder in level(self.root, search.ignored) if not is_folder]
        search.ignored["images outside of the class folders"] += len(loose if self.classes else ())
        entries: list[Entry] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for target, (inner, images) in enumerate(pool.map(self._images, self.classes)):
                entries += [Entry(target, image) for image in images]
                search.folders.update(inner.folders)
                search.ignored.update(inner.ignored)
                progress(target + 1, len(self.classes))
        return Listing(self.root, self.classes, entries, folders=search.folders, notes=search.notes())

    def _images(self, name: str) -> "tuple[_Search, list[str]]":
        """A search of one class, and the images that it finds, sorted."""
        search = _Search(self.root)
        return search, sorted(search.images(name))


@dataclass(frozen=True, slots=True)
class _Search:
    """A search for the images below `root`."""

    root: Path
    folders: dict[str, int] = field(default_factory=dict[str, int])
    """As in `Listing`."""
    ignored: Counter[str] = field(default_factory=Counter[str])
    """Number of files and folders that are left out, by kind."""

    def images(self, folder: str) -> Iterator[str]:
        """Those in a folder and in folders within."""
        above = (self.root.resolve() / folder).parents  # resolved: one of `..` would be the folder itself
        return self._below(folder, frozenset(_identity(each.stat()) for each in above))

    def _below(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        status = (self.root / folder).stat()
        if _identity(status) in above:  # a link to a folder that it lies in
            return
        self.folders[folder] = status.st_mtime_ns  # before it is read, so that a later change can be seen
        for name, is_folder in level(self.root / folder, self.ignored):
            inner = f"{folder}/{name}"
            if not is_folder:
                yield inner
                continue
            images = list(self._below(inner, above | {_identity(status)}))
            # a folder named like an image that holds no image is listed as a broken image
            yield from images or ([inner] if is_image(inner) else [])

    def notes(self) -> tuple[str, ...]:
        """What was left out, in one line for the user, if anything was."""
        return left_out(f"{self.root}: ", self.ignored)


def left_out(where: str, ignored: Counter[str]) -> tuple[str, ...]:
    """How many of which kinds were left out there, in one line for the user, if any were."""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in ignored.most_common() if count)
    return (f"{where}left out: {kinds}",) if kinds else ()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def is_image(name: str) -> bool:
    """Whether the name of a file is that of an image."""
    return name.lower().endswith(EXTENSIONS)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no part of any data set."""
    return name.startswith(".") or name.lower() in BESIDE


def kind_of(name: str) -> str:
    """What a file is counted as where it is left out."""
    return PurePosixPath(name).suffix.lower() or "without extension"


def level(folder: Path, ignored: Counter[str] | None = None) -> Iterator[tuple[str, bool]]:
    """Names of the image files (False) and folders (True) directly in a folder, in no order.

    `ignored` counts by kind what else there is.
    """
    ignored = Counter() if ignored is None else ignored
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                ignored["hidden"] += 1
            elif _is_folder(entry):
                yield entry.name, True
            elif not _is_listed(entry):
                ignored["devices"] += 1
            elif is_image(entry.name) or _holds_image(entry):
                yield entry.name, False
            else:
                ignored[kind_of(entry.name)] += 1


def _is_listed(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a broken link, which is a broken image; a pipe or a device would block its reader."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:  # a link to itself
        return True


def _holds_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file whose name does not tell what it holds begins as an image does."""
    if _UNCLEAR.fullmatch(PurePosixPath(entry.name).suffix.lower()):
        with suppress(OSError), Path(entry.path).open("rb", buffering=0) as file:
            return bool(_IMAGE.match(file.read(16)))
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def files(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names of all images below a folder, sorted, and what was left out, as in `Listing.notes`.

    Raises:
        OSError: A folder cannot be read.
    """
    search = _Search(folder)
    return sorted(name.removeprefix("./") for name in search.images(".")), search.notes()


def read(folder: Path) -> Tree:
    """List the class folders of a split, but for hidden ones."""
    return Tree(root=folder, classes=tuple(sorted(name for name, is_folder in level(folder) if is_folder)))


def misplaced(root: Path, splits: Sequence[Path]) -> str | None:
    """Why `root` is not the folder of a data set with these splits, for the user; None where it may be one."""
    if not root.is_dir():
        return foreign.explained(f"{root} {'is not a folder' if root.exists() else 'does not exist'}; {EXPECTED}", root)
    missing = [folder.name for folder in splits if not folder.is_dir()]
    if missing:
        inner = [entry for entry in sorted(root.iterdir()) if all((entry / split).is_dir() for split in SPLITS)]
        nearby = f"; {inner[0]} has both" if inner else ""
        folders = [name.lower() for name, is_folder in level(root) if is_folder]
        named = any(name.startswith(("train", "val", "test")) for name in folders)  # as Train, which is no class
        undivided = folders and not nearby and not ("train" in missing and named)
        nearby += "; --val-share 0.1 keeps a tenth of each class to evaluate on" if undivided else ""
        return foreign.explained(f"{root} has no folder {' and no folder '.join(missing)}; {EXPECTED}{nearby}", root)
    return None


EXPECTED = "expected DATA/train/<class>/*.JPEG and DATA/val/<class>/*.JPEG"

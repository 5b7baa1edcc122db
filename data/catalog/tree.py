"""An image tree on disk: ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG. Standard library only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from data.catalog.listing import SPLITS, Entry, Listing
from data.names import shown
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


def problems(root: Path, num_classes: int, global_batch: int) -> list[str]:
    """Why the tree at `root` cannot be trained on, one line each, for the user.

    Reads folders only as far as the first image of each class and one global batch.
    """
    if reason := misplaced(root):
        return [f"--data: {reason}"]
    train, val = read(root, "train"), read(root, "val")
    unusable = [*_class_problems(train, val), *_empty(train), *_empty(val)]
    if not unusable and len(train.classes) == 1:
        return [f"--data: {train.root} holds a single class, {shown(train.classes[0])}; a classifier needs two"]
    unusable = unusable or other_classes(train.root, len(train.classes), num_classes)
    return unusable or too_few(train.root, train.count(global_batch), global_batch)


def other_classes(root: Path, classes: int, num_classes: int) -> list[str]:
    """Why the number of classes at `root` does not fit a network, for the user."""
    if classes == num_classes:
        return []
    return [f"model.num_classes: {num_classes}, but {root} holds {classes} classes; use --model.num-classes {classes}"]


def too_few(root: Path, images: int, global_batch: int) -> list[str]:
    """Why the images at `root` are too few to train on, for the user."""
    if images >= global_batch:
        return []
    return [f"global_batch: {global_batch}, but {root} holds only {images} images; use --global-batch {images}"]


def misplaced(root: Path) -> str | None:
    """Why `root` is not the folder of a data set, for the user; None where it may be one."""
    if not root.is_dir():
        return f"{root} {'is not a folder' if root.exists() else 'does not exist'}; {_EXPECTED}"
    missing = [split for split in SPLITS if not (root / split).is_dir()]
    if missing:
        inner = [entry for entry in sorted(root.iterdir()) if all((entry / split).is_dir() for split in SPLITS)]
        nearby = f"; {inner[0]} has both" if inner else ""
        return f"{root} has no folder {' and no folder '.join(missing)}; {_EXPECTED}{nearby}"
    return None


_EXPECTED = "expected DATA/train/<class>/*.JPEG and DATA/val/<class>/*.JPEG"


def _class_problems(train: Tree, val: Tree) -> list[str]:
    if not train.classes:
        return [f"--data: {train.root} holds no class folder; {_EXPECTED}"]
    if not val.classes:
        # ImageNet's own validation archive unpacks to 50,000 files in one folder
        flat = any(is_image(entry.name) for entry in val.root.iterdir())
        remedy = "its images must be sorted into class folders; " if flat else ""
        return [f"--data: {val.root} holds no class folder; {remedy}{_EXPECTED}"]
    extra, absent = sorted(set(val.classes) - set(train.classes)), sorted(set(train.classes) - set(val.classes))
    return [
        *([f"--data: {val.root} holds {_some(extra)}, which {train.root} lacks"] if extra else []),
        *([f"--data: {train.root} holds {_some(absent)}, which {val.root} lacks"] if absent else []),
    ]


def _empty(tree: Tree) -> list[str]:
    empty = [name for name in tree.classes if not Tree(tree.root, (name,)).count(1)]
    return [f"--data: {tree.root} has no image in {_some(empty)}"] if empty else []


def _some(names: list[str]) -> str:
    first = ", ".join(map(shown, names[:3]))
    return f"class {first}" if len(names) <= 3 else f"{len(names)} classes ({first}, ...)"

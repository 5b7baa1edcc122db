"""What lies at the path that `--data` names: an image tree, tar shards or CIFAR's pickles. Loads no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.catalog import cifar, manifest, shards, tree
from data.catalog.cifar import CifarError, Pickles
from data.catalog.listing import SPLITS, Listing, manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.names import shown
from data.types import Progress, unwatched


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as `find` saw it: an image tree, but for what the fields say."""

    root: Path
    pickles: tuple[Pickles, ...] = ()
    """CIFAR-10, CIFAR-100, or both; then nothing else counts."""
    sharded: frozenset[str] = frozenset()
    """Splits that are tar shards."""

    def archived(self, split: str) -> bool:
        """Whether a split's images lie in archives."""
        return bool(self.pickles) or split in self.sharded

    def folder(self, split: str) -> Path:
        """Folder that the names in a split's manifest are relative to.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
        """
        return cifar.only(self.root, self.pickles).folder if self.pickles else self.root / split

    def listing(self, split: str, progress: Progress = unwatched) -> Listing:
        """Where the images of a split lie; `progress` counts the classes of a tree.

        Raises:
            OSError: A file or folder cannot be read.
            ValueError: An archive is not as it should be; the message names it, and the remedy.
        """
        if self.pickles:
            return cifar.listing(cifar.only(self.root, self.pickles), split)
        return shards.listing(self.root, split) if split in self.sharded else tree.listing(self.root, split, progress)

    def manifest(self, stored: Path, split: str) -> Manifest:
        """The manifest of a split that the folder `stored` holds.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
            DamagedManifestError: It is no manifest of this version.
            OSError: It cannot be read.
        """
        return manifest.load(manifest_file(stored, split), self.folder(split))

    def misplaced(self) -> str | None:
        """Why `root` is not the folder of a data set, for the user; None where it may be one."""
        return None if self.pickles else tree.misplaced(self.root)

    def lacks(self, split: str) -> Literal["class folder", "image"] | None:
        """What a split of a tree has none of; None where it has both, and for archives."""
        if self.archived(split):
            return None
        classes = tree.read(self.root, split)
        return "class folder" if not classes.classes else None if classes.count(1) else "image"

    def problems(self, folders: Sequence[Path], num_classes: int, global_batch: int) -> list[str]:
        """Why these images cannot be trained on, one line each, for the user.

        Args:
            folders: Where manifests may lie; the first folder that holds both is used. Without any, a tree's folders
                are looked at, and archives only when they are listed.
            num_classes: The network's.
            global_batch: Fewest images to train on.
        """
        stored = next((folder for folder in folders if has_manifests(folder)), None)
        try:
            if self.root.is_dir() and stored:
                train, val = (self.manifest(stored, split) for split in SPLITS)
                return counts(train, val, num_classes, global_batch)
            if self.pickles:
                cifar.only(self.root, self.pickles)
        except (DamagedManifestError, CifarError) as error:
            return [f"--data: {error}"]
        return [] if all(map(self.archived, SPLITS)) else tree.problems(self.root, num_classes, global_batch)


def find(root: Path) -> DataSet:
    """Look once at what lies at a path, which need not exist."""
    return DataSet(root, cifar.find(root), frozenset(split for split in SPLITS if shards.exist(root, split)))


def journal_file(folder: Path, split: str) -> Path:
    """Where a scan saves its progress until the manifest in the same folder is complete."""
    return folder / f".manifest-{split}.journal"


def has_manifests(folder: Path) -> bool:
    """Whether those of both splits lie there."""
    return all(manifest_file(folder, split).exists() for split in SPLITS)


def counts(train: Manifest, val: Manifest, num_classes: int, global_batch: int) -> list[str]:
    """Why the numbers of classes and images do not fit a recipe, one line each, for the user."""
    if train.classes != val.classes:
        odd = ", ".join(map(shown, sorted(set(train.classes) ^ set(val.classes))[:3]))
        return [f"--data: train and val have other classes, such as {odd}; {val.root}, {train.root}"]
    return [
        *tree.other_classes(train.root, len(train.classes), num_classes),
        *tree.too_few(train.root, len(train), global_batch),
        *([] if len(val) else [f"--data: {val.root} holds no image to evaluate"]),
    ]

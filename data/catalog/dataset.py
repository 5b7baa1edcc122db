"""What lies at the place that `--data` names: an image tree, tar shards or CIFAR, with or without manifests beside it.

Loads no torch.
"""

from collections.abc import Sequence
from pathlib import Path

from data.catalog import cifar, manifest, shards, tree
from data.catalog.listing import SPLITS, Listing, manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.types import Progress, unwatched


def listing(root: Path, split: str, progress: Progress = unwatched) -> Listing:
    """Where the images of a split lie.

    Args:
        root: The data set.
        split: train or val.
        progress: Told how many classes of a tree are listed, of how many.

    Raises:
        OSError: A file or folder cannot be read.
        ValueError: An archive is not as it should be; the message names it, and the mend.
    """
    if cifar.found(root):
        return cifar.listing(root, split)
    return shards.listing(root, split) if shards.found(root, split) else tree.listing(root, split, progress)


def journal_file(folder: Path, split: str) -> Path:
    """Where a scan keeps what it has found so far, until the manifest in the same folder is complete."""
    return folder / f".manifest-{split}.journal"


def has_manifests(folder: Path) -> bool:
    """Whether those of both splits lie there."""
    return all(manifest_file(folder, split).exists() for split in SPLITS)


def load(folder: Path, root: Path, split: str) -> Manifest:
    """The manifest in a folder, for the images at `root`.

    Raises:
        DamagedManifestError: It is no manifest of this version.
        OSError: It cannot be read.
    """
    return manifest.load(manifest_file(folder, split), cifar.folder(root) if cifar.found(root) else root / split)


def problems(root: Path, folders: Sequence[Path], num_classes: int, global_batch: int) -> list[str]:
    """Why the images at `root` cannot be trained on, one line each, for the user; empty where nothing is known.

    Args:
        root: The data set.
        folders: Where manifests may lie, the first that has them counts. Without any, a tree's folders are looked at,
            and archives are left to the listing.
        num_classes: The network's.
        global_batch: Fewest images to train on.
    """
    found = [folder for folder in folders if has_manifests(folder)]
    if root.is_dir() and found:
        try:
            train, val = (load(found[0], root, split) for split in SPLITS)
            return counts(train, val, num_classes, global_batch)
        except DamagedManifestError as error:
            return [f"--data: {error}"]
    if root.is_dir() and (cifar.found(root) or all(shards.found(root, split) for split in SPLITS)):
        return []
    return tree.problems(root, num_classes, global_batch)


def counts(train: Manifest, val: Manifest, num_classes: int, global_batch: int) -> list[str]:
    """Why so many classes and images do not fit a recipe, one line each, for the user."""
    if train.classes != val.classes:
        odd = sorted(set(train.classes) ^ set(val.classes))
        return [f"--data: train and val have other classes, such as {', '.join(odd[:3])}; {val.root}, {train.root}"]
    found = [
        *tree.other_classes(train.root, len(train.classes), num_classes),
        *tree.too_few(train.root, len(train), global_batch),
    ]
    if not len(val):
        found.append(f"--data: {val.root} holds no image to evaluate")
    return found

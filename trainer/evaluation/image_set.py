"""The images of an evaluation: a data set's validation split, or a folder of class folders. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from data.catalog import cifar, shards, tree
from data.output_folder import manifest_file

SPLIT = "val"
EXPECTED = "expected DATA/val/<class>/*.JPEG, or DATA/<class>/*.JPEG"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images in the split or folder `name` of `root`."""

    root: Path
    name: str

    @property
    def is_val(self) -> bool:
        """Whether it is the validation split of a data set."""
        return self.name == SPLIT

    @property
    def folder(self) -> Path:
        """The folder that names in a manifest are relative to."""
        return cifar.folder(self.root) if cifar.found(self.root) else self.root / self.name


def find(data: Path) -> ImageSet:
    """DATA/val, or DATA itself where it holds the class folders, as ImageNet-V2, -A, -R and -Sketch do."""
    if cifar.found(data) or shards.found(data, SPLIT) or (data / SPLIT).is_dir():
        return ImageSet(data, SPLIT)
    whole = data.absolute()
    return ImageSet(whole.parent, whole.name)


def problems(data: Path) -> list[str]:
    """Why there is nothing to evaluate on, for the user."""
    if not data.is_dir():
        return [f"--data: {data} {'is not a folder' if data.exists() else 'does not exist'}; {EXPECTED}"]
    where = find(data)
    if cifar.found(data) or shards.found(data, SPLIT):
        return []
    images = tree.read(where.root, where.name)
    if not images.classes:
        return [f"--data: {where.folder} holds no class folder; {EXPECTED}"]
    return [] if images.count(1) else [f"--data: {where.folder} holds no image; {EXPECTED}"]


def stored(where: ImageSet, run: Path | None) -> list[Path]:
    """Files in which lists of these images may be stored."""
    folders = ([run] if run else []) + [where.root]
    return [manifest_file(folder, SPLIT) for folder in folders] if where.is_val else []

"""Where an evaluation's images lie: a data set's validation part, or a folder of class folders. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from data.catalog import cifar, shards, tree
from data.catalog.listing import manifest_file

SPLIT = "val"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a set of images lies."""

    root: Path
    split: str

    @property
    def is_val(self) -> bool:
        """Whether it is the validation part of a data set, and not a set of its own."""
        return self.split == SPLIT

    @property
    def name(self) -> str:
        """What the set is called."""
        return self.split

    @property
    def folder(self) -> Path:
        """What a manifest's names lie below."""
        return cifar.folder(self.root) if cifar.found(self.root) else self.root / self.split


def find(data: Path) -> Place:
    """DATA/val, or DATA itself where that holds the class folders, as ImageNet-V2, -A, -R and -Sketch come."""
    if cifar.found(data) or shards.found(data, SPLIT) or (data / SPLIT).is_dir():
        return Place(data, SPLIT)
    whole = data.absolute()
    return Place(whole.parent, whole.name)


def problems(data: Path) -> list[str]:
    """Why there is nothing to evaluate on, for the user."""
    if not data.is_dir():
        return [f"--data: {data} {'is not a folder' if data.exists() else 'does not exist'}; {EXPECTED}"]
    place = find(data)
    if cifar.found(data) or shards.found(data, SPLIT):
        return []
    found = tree.read(place.root, place.split)
    if not found.classes:
        return [f"--data: {place.folder} holds no class folder; {EXPECTED}"]
    return [] if found.count(1) else [f"--data: {place.folder} holds no image; {EXPECTED}"]


def stored(place: Place, run: Path | None) -> list[Path]:
    """Where lists of these images may lie."""
    folders = ([run] if run else []) + [place.root]
    return [manifest_file(folder, SPLIT) for folder in folders] if place.is_val else []


EXPECTED = "expected DATA/val/<class>/*.JPEG, or DATA/<class>/*.JPEG"

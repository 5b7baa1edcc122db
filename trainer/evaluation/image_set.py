"""Where an evaluation's images lie: a data set's validation part, or a folder of class folders. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from data.catalog import dataset
from data.catalog.dataset import DataSet
from data.catalog.listing import manifest_file

SPLIT = "val"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a set of images lies."""

    data: DataSet
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
        return self.data.folder(self.split)


def find(data: Path) -> Place:
    """DATA/val, or DATA itself where that holds the class folders, as ImageNet-V2, -A, -R and -Sketch come."""
    data_set = dataset.find(data)
    if data_set.archived(SPLIT) or (data / SPLIT).is_dir():
        return Place(data_set, SPLIT)
    whole = data.absolute()
    return Place(DataSet(whole.parent), whole.name)


def problems(data: Path) -> list[str]:
    """Why there is nothing to evaluate on, for the user."""
    if not data.is_dir():
        return [f"--data: {data} {'is not a folder' if data.exists() else 'does not exist'}; {EXPECTED}"]
    place = find(data)
    try:
        folder, lacking = place.folder, place.data.lacks(place.split)
    except ValueError as error:
        return [f"--data: {error}"]
    return [f"--data: {folder} holds no {lacking}; {EXPECTED}"] if lacking else []


def stored(place: Place, run: Path | None) -> list[Path]:
    """Where lists of these images may lie."""
    folders = ([run] if run else []) + [place.data.root]
    return [manifest_file(folder, SPLIT) for folder in folders] if place.is_val else []


EXPECTED = "expected DATA/val/<class>/*.JPEG, or DATA/<class>/*.JPEG"

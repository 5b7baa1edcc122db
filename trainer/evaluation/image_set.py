"""The images of an evaluation: a data set's validation split, or a folder of class folders. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from data.catalog import checks, dataset
from data.catalog.dataset import DataSet
from data.catalog.layout import NONE, Layout
from data.catalog.listing import manifest_file

SPLIT = "val"
EXPECTED = "expected DATA/val/<class>/*.JPEG, or DATA/<class>/*.JPEG"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images in the split or folder `name` of a data set."""

    data: DataSet
    name: str

    @property
    def is_val(self) -> bool:
        """Whether it is the validation split of a data set."""
        return self.name == SPLIT

    @property
    def folder(self) -> Path:
        """The folder that names in a manifest are relative to."""
        return self.data.folder(self.name)


def find(data: Path, flags: Layout = NONE) -> ImageSet:
    """DATA/val, or DATA itself where it holds the class folders, as ImageNet-V2, -A, -R and -Sketch do."""
    return _in(dataset.find(data, flags))


def _in(data_set: DataSet) -> ImageSet:
    if data_set.archived(SPLIT) or data_set.folder(SPLIT).is_dir():
        return ImageSet(data_set, SPLIT)
    whole = data_set.root.absolute()
    return ImageSet(DataSet(whole.parent), whole.name)


def problems(data: Path, flags: Layout = NONE) -> list[str]:
    """Why there is nothing to evaluate on, for the user."""
    if not data.is_dir():
        return [f"--data: {data} {'is not a folder' if data.exists() else 'does not exist'}; {EXPECTED}"]
    data_set = dataset.find(data, flags)
    if wrong := data_set.misread():
        return [f"--data: {wrong}"]
    where = _in(data_set)
    try:
        seen = where.data.glance(where.name, 1)
    except ValueError as error:
        return [f"--data: {error}"]
    problem = seen and checks.nothing(seen, EXPECTED)
    return [f"--data: {problem}"] if problem else []


def stored(where: ImageSet, run: Path | None) -> list[Path]:
    """Files in which lists of these images may be stored."""
    folders = ([run] if run else []) + [where.data.root]
    return [manifest_file(folder, SPLIT) for folder in folders] if where.is_val else []

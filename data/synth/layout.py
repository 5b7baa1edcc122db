"""The folder of a synthetic data set: its names, its record, and what of it is there. Draws nothing."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from data.catalog.listing import MANIFESTS, SPLITS
from data.durable import replace
from data.output_folder import ADVICE, RefusedError, entries, refuse_strangers
from data.synth.config import Synth

SCHEMA = 1  # of the record and of the images: raise it when a change to drawing or shapes gives other bytes
RECORD = "synth.json"
LOCK = ".synth.lock"


class Tally(NamedTuple):
    """Image files and their bytes."""

    images: int
    bytes: int


class Place(NamedTuple):
    """One class of one split."""

    split: str
    label: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies under `root`."""

    root: Path
    options: Synth

    def places(self) -> list[Place]:
        """All classes of all splits."""
        return [Place(*place) for place in product(SPLITS, range(self.options.classes))]

    def folder(self, place: Place) -> Path:
        """Folder of one class of one split."""
        return self.root / place.split / _class_name(place.label)

    def file(self, place: Place, index: int) -> Path:
        """One image. The name says its split and class, so that no two files of a tree share a name."""
        return self.folder(place) / f"{_class_name(place.label)}_{place.split}_{index:06d}.JPEG"

    def count(self, place: Place) -> int:
        """Images of one class of one split."""
        return self.options.train_per_class if place.split == "train" else self.options.val_per_class

    @property
    def images(self) -> int:
        """Images of the whole tree."""
        return sum(map(self.count, self.places()))

    def finished(self) -> Tally | None:
        """What a complete tree holds; None where something is left to do.

        Raises:
            RefusedError: The folder is not free, nor was it begun with these options.
        """
        record = self._record()
        return Tally(record["images"], record["bytes"]) if record.get("complete") else None

    def survey(self) -> tuple[Tally, dict[Place, list[int]]]:
        """The images that are there, and the indices of those that are not.

        Raises:
            RefusedError: A file or a folder is none of ours.
        """
        for split in SPLITS:
            refuse_strangers(self.root / split, {self.folder(place).name for place in self.places()})
        sizes: list[int] = []
        missing: dict[Place, list[int]] = {}
        for place in self.places():
            found = _sizes(self.folder(place))
            names = [self.file(place, index).name for index in range(self.count(place))]
            refuse_strangers(self.folder(place), set(names))
            sizes += found.values()
            missing[place] = [index for index, name in enumerate(names) if name not in found]
        return Tally(len(sizes), sum(sizes)), missing

    def write_record(self, **facts: Any) -> None:
        """Write synth.json: what these images follow from, and these facts."""
        record = {"schema": SCHEMA, **asdict(self.options), **_versions(), **facts}
        replace(self.root / RECORD, json.dumps(record, indent=2).encode() + b"\n")

    def _record(self) -> dict[str, Any]:
        if self.root.exists() and not self.root.is_dir():
            raise RefusedError(f"{self.root} is a file; name a folder")
        ours = {RECORD, *SPLITS, *MANIFESTS} if (self.root / RECORD).exists() else set[str]()
        refuse_strangers(self.root, ours)
        return self._read() if ours else {}

    def _read(self) -> dict[str, Any]:
        try:
            record = dict(json.loads((self.root / RECORD).read_bytes()))
        except (ValueError, TypeError) as error:
            raise RefusedError(f"{self.root / RECORD} cannot be read: {error}; {ADVICE}") from error
        # a tree begun with one version must not be finished with another, whose bytes may differ
        asked = {"schema": SCHEMA, **asdict(self.options), **({} if record.get("complete") else _versions())}
        differences = [
            f"{key}: asked {asked[key]}, found {record.get(key)}" for key in asked if asked[key] != record.get(key)
        ]
        if differences:
            raise RefusedError(f"{self.root} holds another synthetic data set ({'; '.join(differences)}); {ADVICE}")
        return record


def _class_name(label: int) -> str:
    from data.synth.shapes import CLASSES  # loads numpy, which takes longer than to see that a tree is complete

    return f"n{label:02d}_{'_'.join(CLASSES[label])}"


def _versions() -> dict[str, str]:
    return {"numpy": version("numpy"), "pillow": version("pillow")}


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file; without those that a lost power supply left empty."""
    return {entry.name: entry.stat().st_size for entry in entries(folder) if entry.stat().st_size}

"""The folder of a synthetic data set: its names, its record, and which of its images exist. Draws nothing."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from data.catalog.listing import MANIFESTS, SPLITS
from data.durable import replace
from data.output_folder import RefusedError, entries, read_record, refuse_differences, refuse_strangers
from data.synth.config import Synth

SCHEMA = 1  # of the record and of the images: raise it when a change to drawing or shapes gives other bytes
RECORD = "synth.json"
LOCK = ".synth.lock"


class Tally(NamedTuple):
    """Image files and their bytes."""

    images: int
    bytes: int


class Part(NamedTuple):
    """One class of one split."""

    split: str
    label: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of everything under `root`."""

    root: Path
    options: Synth

    def parts(self) -> list[Part]:
        """All classes of all splits."""
        return [Part(*part) for part in product(SPLITS, range(self.options.classes))]

    def folder(self, part: Part) -> Path:
        return self.root / part.split / _class_name(part.label)

    def file(self, part: Part, index: int) -> Path:
        """One image. Its name has the split and the class in it, so that no two files of a tree share a name."""
        return self.folder(part) / f"{_class_name(part.label)}_{part.split}_{index:06d}.JPEG"

    def count(self, part: Part) -> int:
        """Images of one class of one split."""
        return self.options.train_per_class if part.split == "train" else self.options.val_per_class

    @property
    def images(self) -> int:
        """Images of the whole tree."""
        return sum(map(self.count, self.parts()))

    def finished(self) -> Tally | None:
        """What a complete tree holds; None where something is left to draw.

        Raises:
            RefusedError: The folder holds something else, or was begun with other options.
        """
        if self.root.exists() and not self.root.is_dir():
            raise RefusedError(f"{self.root} is a file; name a folder")
        record = read_record(self.root / RECORD)
        refuse_strangers(self.root, () if record is None else {RECORD, *SPLITS, *MANIFESTS})
        if record is None:
            return None
        # a tree begun with one version must not be finished with another, whose bytes may differ
        requested = {"schema": SCHEMA, **asdict(self.options), **({} if record.get("complete") else _versions())}
        refuse_differences(requested, record, f"{self.root} holds another synthetic data set")
        return Tally(record["images"], record["bytes"]) if record.get("complete") else None

    def survey(self) -> tuple[Tally, dict[Part, list[int]]]:
        """The images that exist, and the indices of those that do not.

        Raises:
            RefusedError: There is a file or a folder of another name.
        """
        for split in SPLITS:
            refuse_strangers(self.root / split, {self.folder(part).name for part in self.parts()})
        sizes: list[int] = []
        missing: dict[Part, list[int]] = {}
        for part in self.parts():
            existing = _sizes(self.folder(part))
            names = [self.file(part, index).name for index in range(self.count(part))]
            refuse_strangers(self.folder(part), set(names))
            sizes += existing.values()
            missing[part] = [index for index, name in enumerate(names) if name not in existing]
        return Tally(len(sizes), sum(sizes)), missing

    def write_record(self, **facts: Any) -> None:
        """Write synth.json: options and versions, which decide the images, and these facts."""
        record = {"schema": SCHEMA, **asdict(self.options), **_versions(), **facts}
        replace(self.root / RECORD, json.dumps(record, indent=2).encode() + b"\n")


def _class_name(label: int) -> str:
    from data.synth.shapes import CLASSES  # loads numpy, which takes longer than to check a complete tree

    return f"n{label:02d}_{'_'.join(CLASSES[label])}"


def _versions() -> dict[str, str]:
    return {"numpy": version("numpy"), "pillow": version("pillow")}


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file, but for files that a power cut left empty."""
    return {entry.name: entry.stat().st_size for entry in entries(folder) if entry.stat().st_size}

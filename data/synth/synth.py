"""Writes a procedural image tree: ROOT/train/<class>/*.JPEG, ROOT/val/<class>/*.JPEG and ROOT/synth.json.

Each image depends on the options and its own number only: neither the number of workers nor an interruption changes a
byte. synth.json is written first, with the options, and once more at the end, marked complete.
"""

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from data.catalog.listing import MANIFESTS, SPLITS
from data.durable import replace
from data.output_folder import RefusedError, alone, entries, read_record, refuse, refuse_differences, refuse_strangers
from data.synth.config import Synth
from data.types import Progress, unwatched
from data.workers import bad_workers, each

SCHEMA = 1  # of the record and of the images: raise it when a change to drawing or shapes gives other bytes
RECORD = "synth.json"
LOCK = ".synth.lock"
CHUNK = 16  # images a worker draws at a time: a third of a second at full scale, so that Ctrl-C acts soon


class Tally(NamedTuple):
    """Image files and their bytes."""

    images: int
    bytes: int


class Part(NamedTuple):
    """One class of one split."""

    split: str
    label: int


class Chunk(NamedTuple):
    """Some images of one class of one split."""

    part: Part
    indices: list[int]


@dataclass(frozen=True, slots=True)
class Written:
    """A complete tree, train and val."""

    images: int
    bytes: int
    """Of all images."""
    drawn: int
    """Images drawn by this call."""


def write(root: Path, options: Synth, *, workers: int, progress: Progress = unwatched) -> Written:
    """Write the tree, or the images that are missing in it; a complete one is not changed.

    Workers are spawned processes: a script that uses several calls this under `if __name__ == "__main__":`.

    Args:
        root: Folder of the tree: absent (its parents too), empty, or begun with the same options.
        options: What is drawn; their ranges are not checked.
        workers: Processes that draw, 1 to 256; 1 draws in this process.
        progress: Counts the images.

    Raises:
        RefusedError: There cannot be so many workers, or the folder holds something else. Nothing was written.
        OSError: A file cannot be written. The same call continues from there.
        BrokenExecutor: A worker was killed. The same call continues from there.
    """
    refuse(bad_workers(workers))
    layout = Layout(root, options)
    if whole := layout.finished():
        return Written(images=whole.images, bytes=whole.bytes, drawn=0)
    existing, missing = layout.survey()
    images, size = existing
    chunks = [
        Chunk(part, indices[start : start + CHUNK])
        for part, indices in missing.items()
        for start in range(0, len(indices), CHUNK)
    ]
    root.mkdir(parents=True, exist_ok=True)
    with alone(root / LOCK), closing(each(partial(_draw, layout), chunks, workers)) as tallies:
        layout.write_record(complete=False)
        for part in missing:
            layout.folder(part).mkdir(parents=True, exist_ok=True)
        progress(images, layout.images)
        for tally in tallies:
            images, size = images + tally.images, size + tally.bytes
            progress(images, layout.images)
        layout.write_record(complete=True, images=images, bytes=size)
    return Written(images=images, bytes=size, drawn=images - existing.images)


def _draw(layout: "Layout", chunk: Chunk) -> Tally:
    from data.synth import drawing
    from data.synth.shapes import CLASSES

    size = 0
    split, label = chunk.part
    for index in chunk.indices:
        rng = drawing.generator(layout.options.seed, split, label, index)
        image = drawing.jpeg(rng, layout.options.scale, *CLASSES[label])
        replace(layout.file(chunk.part, index), image)
        size += len(image)
    return Tally(len(chunk.indices), size)


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
            # but for files that a power cut left empty
            existing = {entry.name: size for entry in entries(self.folder(part)) if (size := entry.stat().st_size)}
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

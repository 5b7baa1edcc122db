"""The options of a pack of shards, and its record, OUT/pack.json. Standard library only."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data import schema
from data.catalog.listing import Listing
from data.durable import flush, opened, replace
from data.output_folder import RefusedError, read_record, refuse_differences

SCHEMA = 1  # of the record and of the shards: raise it when a change gives other bytes
RECORD = "pack.json"
CLASSES = "classes.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackOptions:
    """How images are packed: with Pillow's version, these options decide every byte."""

    resize: int | None = field(default=None, metadata={"min": 32, "max": 4096})
    """Shorter side of images that are larger, pixels; they become RGB JPEGs. None: no image is changed."""
    quality: int = field(default=90, metadata={"min": 1, "max": 100})
    """JPEG quality of the images that are resized."""
    shard_images: int = field(default=1000, metadata={"min": 1, "max": 1_000_000})
    """Most images in a shard. All shards of a split hold as many, or one less."""
    seed: int = field(default=0, metadata={"min": 0, "max": 2**32 - 1})
    """Of the order of the images: shuffled, so that sequential reading meets all classes."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Share of a split's images that may be broken: they are left out and named. More end the command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """One shard that was read back and matched."""

    name: str
    images: int
    resized: int
    """How many of them are not the source's bytes."""
    bytes: int
    """Size of the file."""
    digest: str
    """BLAKE2b of the file, in hex."""
    broken: tuple[tuple[str, str], ...]
    """Names of source images that could not be decoded and are left out, and why."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one split: where it is, and what it must say."""

    out: Path
    split: str
    options: PackOptions
    source: str
    """Digest of the split's listing, in hex: see `source_digest`."""

    @property
    def journal(self) -> Path:
        """File with a line for each shard, as long as the split is not complete."""
        return self.out / f".pack-{self.split}.jsonl"

    def read(self) -> tuple[bool, dict[str, Packed]]:
        """Whether the split was completed, and its recorded shards by name.

        Raises:
            RefusedError: The folder was begun with other options or another source.
        """
        record = read_record(self.out / RECORD) or {}
        split = record.get("splits", {}).get(self.split, {})
        if record:
            self._refuse_differences(record, split)
        if split and not split.get("complete"):
            # a kill may have cut the last line short
            text = self.journal.read_text() if self.journal.exists() else ""
            lines = [schema.parse(line) for line in text.split("\n")[:-1]]
        else:
            lines = split.get("shards", [])
        shards = [Packed(**{**line, "broken": tuple(map(tuple, line["broken"]))}) for line in lines]
        return split.get("complete", False), {shard.name: shard for shard in shards}

    def begin(self, known: Iterable[Packed]) -> None:
        """Record that the split is being written; starts the journal again with the known shards."""
        replace(self.journal, "".join(map(_line, known)).encode())
        self._write({"complete": False, "source": self.source})

    def append(self, shard: Packed) -> None:
        with os.fdopen(opened(self.journal, os.O_WRONLY | os.O_APPEND), "a") as file:
            file.write(_line(shard))
            flush(file)

    def complete(self, shards: Iterable[Packed]) -> None:
        """Record that the split is complete."""
        lines = [asdict(shard) for shard in sorted(shards, key=lambda shard: shard.name)]
        totals = {key: sum(line[key] for line in lines) for key in ("images", "resized", "bytes")}
        broken = [image for line in lines for image in line["broken"]]
        self._write({"complete": True, "source": self.source, **totals, "broken": broken, "shards": lines})
        self.journal.unlink(missing_ok=True)

    def _write(self, split: dict[str, Any]) -> None:
        splits = (read_record(self.out / RECORD) or {}).get("splits", {}) | {self.split: split}
        replace(self.out / RECORD, json.dumps({**self._requested(), "splits": splits}, indent=1).encode() + b"\n")

    def _requested(self) -> dict[str, Any]:
        options = {key: value for key, value in asdict(self.options).items() if key != "max_broken"}
        return {"schema": SCHEMA, **options, "pillow": version("pillow")}

    def _refuse_differences(self, record: dict[str, Any], split: dict[str, Any]) -> None:
        requested = self._requested() | {"source": self.source}
        if split.get("complete"):  # another version of Pillow may give other bytes, but nothing is left to write
            del requested["pillow"]
        stored = record | {"source": split.get("source", self.source)}
        refuse_differences(requested, stored, f"{self.out} was packed otherwise")


def _line(shard: Packed) -> str:
    return json.dumps(asdict(shard)) + "\n"


def source_digest(listing: Listing) -> str:
    """Hex digest of classes, targets and names; contents are read only when they are packed."""
    digest = hashlib.blake2b("\0".join(listing.classes).encode(errors="surrogateescape"), digest_size=16)
    text = "\0".join(f"{entry.target} {entry.name}" for entry in listing.entries)
    digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest()


def unfinished(out: Path, split: str, archives: tuple[str, ...]) -> str | None:
    """Why the shards of a split cannot be used; None if they can, or if another program wrote them."""
    try:
        record = read_record(out / RECORD)
    except RefusedError as error:
        return str(error)
    if not record:
        return None
    packed = record.get("splits", {}).get(split, {"complete": False})
    if not packed["complete"]:
        return f"{out / split} is not packed to its end; run the same `provenet pack` once more"
    named = {shard["name"] for shard in packed["shards"]}
    if lost := sorted(named - set(archives)):
        return f"{out / split / lost[0]} is missing ({len(lost)} of {len(named)}); run the same pack command once more"
    if more := sorted(set(archives) - named):
        return f"{out / split / more[0]} is no part of what {RECORD} says was packed; move it away"
    return None

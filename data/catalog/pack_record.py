"""What a pack of shards is made with, and OUT/pack.json, which says it and how far it is. Standard library only."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data.catalog.listing import Listing
from data.durable import flush, replace
from data.output_folder import ADVICE, RefusedError

SCHEMA = 1  # of the record and of the shards: raise it when a change gives other bytes
RECORD = "pack.json"
CLASSES = "classes.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackOptions:
    """How images are put into shards: with Pillow's version, these decide every byte."""

    resize: int | None = field(default=None, metadata={"min": 32, "max": 4096})
    """Shorter side of images that are larger, pixels; they become RGB JPEGs. None: no image is changed."""
    quality: int = field(default=90, metadata={"min": 1, "max": 100})
    """JPEG quality of the images that are resized."""
    shard_images: int = field(default=1000, metadata={"min": 1, "max": 1_000_000})
    """Most images in a shard. All shards of a split hold as many, or one less."""
    seed: int = field(default=0, metadata={"min": 0, "max": 2**32 - 1})
    """Decides the order of the images: mixed, so that a reader meets all classes early."""
    max_broken: float = field(default=0.001, metadata={"min": 0, "max": 1})
    """Share of a split's images that may be broken: they are left out and named. More end the command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """One shard as it was found right."""

    name: str
    """Its file."""
    images: int
    """Images in it."""
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
    """Where the record of one split lies, and what must stand in it."""

    out: Path
    split: str
    options: PackOptions
    source: str
    """What the split is made of, as a hex digest."""

    @property
    def journal(self) -> Path:
        """File that gets a line for each shard, as long as the split is not complete."""
        return self.out / f".pack-{self.split}.jsonl"

    def read(self) -> tuple[bool, dict[str, Packed]]:
        """Whether the split was completed, and its shards on record, by name.

        Raises:
            RefusedError: The folder was begun with other options or another source.
        """
        record = _stored(self.out)
        split = record.get("splits", {}).get(self.split, {})
        if record:
            self._refuse_differences(record, split)
        lines = split["shards"] if split.get("complete") else self._journal_lines() if split else []
        shards = [Packed(**{**line, "broken": tuple(map(tuple, line["broken"]))}) for line in lines]
        return split.get("complete", False), {shard.name: shard for shard in shards}

    def begin(self, known: Iterable[Packed]) -> None:
        """Say that the split is being written, and what is known of it; a journal's torn end goes."""
        replace(self.journal, "".join(map(_line, known)).encode())
        self._write({"complete": False, "source": self.source})

    def append(self, shard: Packed) -> None:
        """Say that a shard is done."""
        with self.journal.open("a") as file:
            file.write(_line(shard))
            flush(file)

    def complete(self, shards: Iterable[Packed]) -> None:
        """Say that the split is done."""
        lines = [asdict(shard) for shard in sorted(shards, key=lambda shard: shard.name)]
        totals = {key: sum(line[key] for line in lines) for key in ("images", "resized", "bytes")}
        broken = [image for line in lines for image in line["broken"]]
        self._write({"complete": True, "source": self.source, **totals, "broken": broken, "shards": lines})
        self.journal.unlink(missing_ok=True)

    def _write(self, split: dict[str, Any]) -> None:
        splits = _stored(self.out).get("splits", {}) | {self.split: split}
        replace(self.out / RECORD, json.dumps({**self._asked(), "splits": splits}, indent=1).encode() + b"\n")

    def _asked(self) -> dict[str, Any]:
        options = {key: value for key, value in asdict(self.options).items() if key != "max_broken"}
        return {"schema": SCHEMA, **options, "pillow": version("pillow")}

    def _refuse_differences(self, record: dict[str, Any], split: dict[str, Any]) -> None:
        asked, found = self._asked() | {"source": self.source}, record | {"source": split.get("source", self.source)}
        # another version of Pillow may give other bytes, which matters as long as there is something to write
        checked = [key for key in asked if key != "pillow" or not split.get("complete")]
        differences = [
            f"{key}: asked {asked[key]}, found {found.get(key)}" for key in checked if asked[key] != found.get(key)
        ]
        if differences:
            raise RefusedError(f"{self.out} was packed otherwise ({'; '.join(differences)}); {ADVICE}")

    def _journal_lines(self) -> list[dict[str, Any]]:
        """Whole lines: the last may have been cut short by a kill."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]


def _line(shard: Packed) -> str:
    return json.dumps(asdict(shard)) + "\n"


def source_digest(listing: Listing) -> str:
    """Hex digest of classes, targets and names; contents are looked at as they are packed."""
    digest = hashlib.blake2b("\0".join(listing.classes).encode(errors="surrogateescape"), digest_size=16)
    text = "\0".join(f"{entry.target} {entry.name}" for entry in listing.entries)
    digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest()


def unfinished(out: Path, split: str, archives: tuple[str, ...]) -> str | None:
    """Why shards that were packed here cannot be used; None if they can, or were made elsewhere."""
    try:
        record = _stored(out)
    except RefusedError as error:
        return str(error)
    found = record.get("splits", {}).get(split, {"complete": False})
    if not record:
        return None
    if not found["complete"]:
        return f"{out / split} is not packed to its end; run the same `provenet pack` once more"
    named = {shard["name"] for shard in found["shards"]}
    if lost := sorted(named - set(archives)):
        return f"{out / split / lost[0]} is missing ({len(lost)} of {len(named)}); run the same pack command once more"
    if more := sorted(set(archives) - named):
        return f"{out / split / more[0]} is no part of what {RECORD} says was packed; move it away"
    return None


def _stored(out: Path) -> dict[str, Any]:
    file = out / RECORD
    try:
        return dict(json.loads(file.read_bytes())) if os.path.lexists(file) else {}
    except (ValueError, TypeError) as error:
        raise RefusedError(f"{file} cannot be read: {error}; {ADVICE}") from error

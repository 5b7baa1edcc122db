"""The folder that `prepare` fills: what it is made from, on record, and what is refused before anything is written."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from data.catalog.listing import MANIFESTS
from data.durable import replace
from data.output_folder import ADVICE, RefusedError, refuse, refuse_strangers

SCHEMA = 1
RECORD = "prepare.json"
LOCK = ".prepare.lock"
EDGE = 1 << 20  # bytes at both ends of an archive that tell it from others: names, times, gzip's checksum


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a complete data set holds."""

    classes: int
    train: int
    """Training images."""
    val: int
    """Validation images."""
    bytes: int
    """Their sizes added up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a call of `prepare` came to."""

    contents: Contents
    written: int
    """Images written by this call, 0 where all were there before; of shards, all of a split that lacked one."""
    notes: tuple[str, ...] = ()
    """What the user should know of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What a data set is made from."""

    name: str
    """Of the data set."""
    archives: dict[str, Path]
    """By the flag that gives them."""
    where: str
    """Address where they are to be had."""
    options: dict[str, Any]
    """What else decides the result."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, and what it is to be filled with."""

    root: Path
    facts: dict[str, Any]
    """What its contents follow from."""
    ours: tuple[str, ...]
    """What it may hold: names of files and folders. Hidden ones are nobody's business."""

    @property
    def lock(self) -> Path:
        """File whose lock the one writer holds."""
        return self.root / LOCK

    def finished(self) -> Contents | None:
        """What the folder holds where it is complete; None where something is left to do.

        Raises:
            RefusedError: It is not free, nor was it begun for the same.
        """
        if self.root.exists() and not self.root.is_dir():
            raise RefusedError(f"{self.root} is a file; name a folder")
        begun = (self.root / RECORD).exists()
        record = self._read() if begun else {}
        if "contents" in record:
            return Contents(**record["contents"])
        refuse_strangers(self.root, {RECORD, *MANIFESTS, *self.ours} if begun else ())
        return None

    def write_record(self, contents: Contents | None = None) -> None:
        """Write down what is being made here, or what was made and is complete."""
        done = {"contents": asdict(contents)} if contents else {}
        replace(self.root / RECORD, json.dumps({"schema": SCHEMA, **self.facts, **done}, indent=2).encode() + b"\n")

    def complete(self, contents: Contents) -> None:
        """Put everything onto the disk, and then on record: no power cut may undo what the record says."""
        os.sync()  # once for all: a flush for each of a million files would take hours
        self.write_record(contents)

    def _read(self) -> dict[str, Any]:
        try:
            record = dict(json.loads((self.root / RECORD).read_bytes()))
        except (ValueError, TypeError) as error:
            raise RefusedError(f"{self.root / RECORD} cannot be read: {error}; {ADVICE}") from None
        asked = {"schema": SCHEMA, **self.facts}
        differences = [
            f"{key}: asked {asked[key]}, found {record.get(key)}" for key in asked if asked[key] != record.get(key)
        ]
        if differences:
            raise RefusedError(f"{self.root} was prepared from something else ({'; '.join(differences)}); {ADVICE}")
        return record


def start(
    root: Path, source: Source, ours: tuple[str, ...], problems: Sequence[str] = ()
) -> tuple[Place, Contents | None]:
    """Look at archives and folder before any long work; gives what is there where all is done.

    Args:
        root: Folder to fill.
        source: What it is filled from.
        ours: What it may hold.
        problems: Those found already.

    Raises:
        RefusedError: With every problem, one line each.
    """
    absent = [
        f"{flag}: {path} {'is no file' if path.exists() else 'does not exist'}; it is to be had from {source.where}"
        for flag, path in source.archives.items()
        if not path.is_file()
    ]
    identities = {} if absent else {flag: _identity(path) for flag, path in source.archives.items()}
    found = [*problems, *absent]
    place, contents = Place(root, {"data_set": source.name, **source.options, **identities}, ours), None
    try:
        contents = place.finished()
    except RefusedError as error:
        found.append(str(error))
    refuse(found)
    return place, contents


def _identity(archive: Path) -> str:
    """What tells an archive from others, wherever it lies, without reading all of it."""
    size = archive.stat().st_size
    with archive.open("rb") as stream:
        digest = blake2b(stream.read(EDGE), digest_size=8)
        stream.seek(max(0, size - EDGE))
        digest.update(stream.read(EDGE))
    return f"{size} bytes, {digest.hexdigest()}"

"""The folder that `prepare` fills: its record, and what is refused before anything is written."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from data.catalog.listing import MANIFESTS
from data.durable import replace
from data.output_folder import RefusedError, read_record, refuse, refuse_differences, refuse_strangers

SCHEMA = 1
RECORD = "prepare.json"
LOCK = ".prepare.lock"
EDGE = 1 << 20  # bytes at both ends of an archive that identify it: names, times, gzip's checksum


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
    """Result of a call of `prepare`."""

    contents: Contents
    written: int
    """Images written by this call; of shards, all of a split that lacked one."""
    notes: tuple[str, ...] = ()
    """Lines for the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What a data set is made from."""

    name: str
    """Of the data set."""
    archives: dict[str, Path]
    """By the flag that names them."""
    where: str
    """Web page that offers them."""
    options: dict[str, Any]
    """Options that decide the result."""


@dataclass(frozen=True, slots=True)
class Target:
    """A folder to fill, and what it is filled from."""

    root: Path
    facts: dict[str, Any]
    """Everything that decides its contents."""
    ours: tuple[str, ...]
    """Names of the files and folders that it may hold, but for hidden ones."""

    @property
    def lock(self) -> Path:
        """File that the one writer locks."""
        return self.root / LOCK

    def finished(self) -> Contents | None:
        """The contents of a complete folder; None where something is left to write.

        Raises:
            RefusedError: The folder holds something else, or was begun from other facts.
        """
        if self.root.exists() and not self.root.is_dir():
            raise RefusedError(f"{self.root} is a file; name a folder")
        record = read_record(self.root / RECORD)
        if record is None:
            refuse_strangers(self.root, ())
            return None
        requested = {"schema": SCHEMA, **self.facts}
        refuse_differences(requested, record, f"{self.root} was prepared from something else")
        if "contents" in record:
            return Contents(**record["contents"])
        refuse_strangers(self.root, {RECORD, *MANIFESTS, *self.ours})
        return None

    def write_record(self, contents: Contents | None = None) -> None:
        """Record what is being written here, or with `contents` that it is complete."""
        done = {"contents": asdict(contents)} if contents else {}
        replace(self.root / RECORD, json.dumps({"schema": SCHEMA, **self.facts, **done}, indent=2).encode() + b"\n")

    def complete(self, contents: Contents) -> None:
        """Flush everything to the disk before the record says that it is complete."""
        os.sync()  # once for all: a flush for each of a million files would take hours
        self.write_record(contents)


def start(
    root: Path, source: Source, ours: tuple[str, ...], problems: Sequence[str] = ()
) -> tuple[Target, Contents | None]:
    """Check archives and folder before any long work; the contents are those of a complete folder.

    Args:
        root: Folder to fill.
        source: What it is filled from.
        ours: Names of the files and folders that it may hold.
        problems: Others to report with those found here.

    Raises:
        RefusedError: With every problem, one line each.
    """
    absent = [
        f"{flag}: {path} {'is no file' if path.exists() else 'does not exist'}; download it from {source.where}"
        for flag, path in source.archives.items()
        if not path.is_file()
    ]
    identities = {} if absent else {flag: _identity(path) for flag, path in source.archives.items()}
    every = [*problems, *absent]
    target, contents = Target(root, {"data_set": source.name, **source.options, **identities}, ours), None
    try:
        contents = target.finished()
    except RefusedError as error:
        every.append(str(error))
    refuse(every)
    return target, contents


def _identity(archive: Path) -> str:
    """Size and digest of both ends: they identify an archive without reading all of it."""
    size = archive.stat().st_size
    with archive.open("rb") as stream:
        digest = blake2b(stream.read(EDGE), digest_size=8)
        stream.seek(max(0, size - EDGE))
        digest.update(stream.read(EDGE))
    return f"{size} bytes, {digest.hexdigest()}"

"""A checkpoint on disk: its name, manifest and hashes; how it is published and removed. Loads no torch.

A checkpoint is a folder `step-<10 digits>`. It is written under the suffix `.tmp`; its manifest with sizes and hashes
is written last, and then it is renamed. One that replaces another of the same step first renames that to `.old`, so
that a kill between the two renames leaves one of them.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import schema
from data.durable import whole
from data.schema import NewerSchemaError

SCHEMA = 2
MODEL, EMA, STATE, MANIFEST = "model.safetensors", "ema.safetensors", "state.pt", "manifest.json"

_NAME = re.compile(r"step-(\d{10})(\.old)?")


class OtherSchemaError(ValueError):
    """An older version wrote the checkpoint, in a format that this one does not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The content of a checkpoint's manifest."""

    step: int
    """Optimizer steps done."""
    files: dict[str, dict[str, Any]]
    """By name: `bytes` and `sha256`."""
    top1: float | None
    """Top-1 of these weights, percent, where they were evaluated."""
    time: float
    """When it was written, seconds since 1970."""
    token: str | None
    """Token of the process that wrote it, which held the run directory."""
    records: int | None = None
    """Of metrics.jsonl up to here, starts apart; None: not counted."""

    def text(self) -> str:
        fields = {name: getattr(self, name) for name in ("step", "files", "top1", "time", "token", "records")}
        return json.dumps({"schema": SCHEMA, **fields}, indent=2)


def place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:010d}"


def step_of(path: Path) -> int:
    return int(path.name[5:15])


def newest_first(folder: Path) -> list[Path]:
    """Every checkpoint, valid or not; `.old` comes after the other of its step."""
    checkpoints = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(checkpoints, key=lambda path: (step_of(path), not path.suffix), reverse=True)


def newest_valid(folder: Path) -> Path | None:
    """The checkpoint from which a restart goes on, verified by its hashes, or None."""
    return next((path for path in newest_first(folder) if damage(path) is None), None)


def read_manifest(path: Path) -> Manifest:
    """A checkpoint's manifest.

    Raises:
        OtherSchemaError: An older version wrote it.
        NewerSchemaError: A newer version wrote it.
        ValueError: It is damaged.
        OSError: There is none.
    """
    content = schema.parse((path / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "schema" not in content:
        raise ValueError(f"{MANIFEST} is damaged: it names no schema")
    schema.check(content["schema"], SCHEMA, path / MANIFEST)
    if content["schema"] != SCHEMA:
        raise OtherSchemaError(f"schema {content['schema']}, this version reads {SCHEMA}")
    try:
        manifest = Manifest(**schema.known_fields(Manifest, content))
        missing = {MODEL, STATE} - manifest.files.keys()
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{MANIFEST} is damaged: {error}") from None
    if missing:
        raise ValueError(f"{MANIFEST} does not list {', '.join(sorted(missing))}")
    return manifest


def newer(folder: Path) -> str | None:
    """Why a run cannot go on here: a newer version wrote one of its checkpoints; or None."""
    for path in newest_first(folder):
        try:
            read_manifest(path)
        except NewerSchemaError as error:
            return str(error)
        except (OSError, ValueError):  # damaged: a restart reports it
            continue
    return None


def damage(path: Path, *, hashes: bool = True) -> str | None:
    """Why a checkpoint is not valid, or None; without `hashes` only sizes are compared, which is fast."""
    try:
        files = read_manifest(path).files
        wrong = [name for name, listed in files.items() if _size(path / name) != listed["bytes"]]
        if hashes and not wrong:
            wrong = [name for name, listed in files.items() if describe(path / name) != listed]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(wrong)} differs from the manifest" if wrong else None


def describe(file: Path) -> dict[str, Any]:
    """The entry of a file in a manifest."""
    with file.open("rb") as stream:
        return {"bytes": _size(file), "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def bytes_of(path: Path) -> int:
    """The size of a checkpoint."""
    return sum(_size(file) for file in (path.iterdir() if path.is_dir() else [path]))


def settle(folder: Path) -> None:
    """Remove what a killed writer left, and rename a checkpoint that it had moved aside back."""
    for leftover in folder.glob("step-*.tmp"):
        _delete(leftover)
    for aside in folder.glob("step-*.old"):
        final = aside.with_suffix("")
        if final.exists():
            discard(aside)
        else:
            aside.rename(final)


def publish(temporary: Path, final: Path) -> None:
    """Rename a finished checkpoint, replacing another of its step, and flush the names to the disk."""
    aside = final.with_name(f"{final.name}.old")
    if os.path.lexists(final):
        final.rename(aside)  # one rename cannot replace a folder that is not empty
    temporary.rename(final)
    flush_folder(final.parent)
    if os.path.lexists(aside):
        discard(aside)


def discard(path: Path) -> None:
    """Remove a checkpoint; a kill in the middle leaves a `.tmp`, not a damaged checkpoint."""
    _delete(path.rename(path.with_name(f"{path.name}.tmp")))


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: Path, target: Path) -> None:
    """Copy a file atomically, and flush it to the disk.

    Raises:
        OSError: It cannot be written; no part of it is left.
    """
    with source.open("rb") as stream, whole(target) as written:
        shutil.copyfileobj(stream, written)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _size(file: Path) -> int:
    return file.stat().st_size

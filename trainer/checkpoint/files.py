"""What a checkpoint is on the disk: its names, its manifest, its hashes, how it comes and goes. Loads no torch.

A checkpoint is a folder `step-<10 digits>`. It is written as `.tmp`; its manifest with sizes and hashes comes last, and
then it gets its name. One that takes the place of another of its step moves that aside, to `.old`, for the instant
between two renames, so that a kill at any time leaves one of both.
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
    """The checkpoint was written by an older version than this reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a checkpoint says of itself."""

    step: int
    """Optimizer steps done."""
    files: dict[str, dict[str, Any]]
    """By name: `bytes` and `sha256`."""
    top1: float | None
    """Top-1 of these weights, percent, where they were evaluated."""
    time: float
    """When it was written, seconds since 1970."""
    token: str | None
    """Who wrote it: the token of the process that held the run directory."""

    def text(self) -> str:
        """As the file holds it."""
        fields = {name: getattr(self, name) for name in ("step", "files", "top1", "time", "token")}
        return json.dumps({"schema": SCHEMA, **fields}, indent=2)


def place(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:010d}"


def step_of(path: Path) -> int:
    """The step that a checkpoint's name says."""
    return int(path.name[5:15])


def newest_first(folder: Path) -> list[Path]:
    """Every checkpoint, whole or not; of one step, that moved aside comes behind the other."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (step_of(path), not path.suffix), reverse=True)


def newest_valid(folder: Path) -> Path | None:
    """The checkpoint that a restart takes, verified by its hashes, or None."""
    return next((path for path in newest_first(folder) if damage(path) is None), None)


def read_manifest(path: Path) -> Manifest:
    """A checkpoint's manifest.

    Raises:
        OtherSchemaError: An older version wrote it.
        NewerSchemaError: A newer version wrote it.
        ValueError: It is damaged.
        OSError: There is none.
    """
    content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
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
    """Why a run may not go on here: a newer version wrote one of its checkpoints. None: none did."""
    for path in newest_first(folder):
        try:
            read_manifest(path)
        except NewerSchemaError as error:
            return str(error)
        except (OSError, ValueError):  # a restart says so
            continue
    return None


def damage(path: Path, *, hashes: bool = True) -> str | None:
    """Why a checkpoint is not valid, or None; without `hashes` by the files' sizes alone, which reads no weights."""
    try:
        files = read_manifest(path).files
        wrong = [name for name, listed in files.items() if _size(path / name) != listed["bytes"]]
        if hashes and not wrong:
            wrong = [name for name, listed in files.items() if describe(path / name) != listed]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(wrong)} differs from the manifest" if wrong else None


def describe(file: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    with file.open("rb") as stream:
        return {"bytes": _size(file), "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def bytes_of(path: Path) -> int:
    """What a checkpoint takes on the disk."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(_size(file) for file in files)


def settle(folder: Path) -> None:
    """Clear away what a killed writer left, and give one that it had moved aside its name back."""
    for leftover in folder.glob("step-*.tmp"):
        _delete(leftover)
    for aside in folder.glob("step-*.old"):
        final = aside.with_suffix("")
        if final.exists():
            discard(aside)
        else:
            aside.rename(final)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished checkpoint its name, also where one of its step is there, and make that last."""
    aside = final.with_name(f"{final.name}.old")
    if os.path.lexists(final):
        final.rename(aside)  # a folder cannot take the place of another in one step
    temporary.rename(final)
    flush_folder(final.parent)
    if os.path.lexists(aside):
        discard(aside)


def discard(path: Path) -> None:
    """Remove a checkpoint; killed in the middle, it leaves something unfinished, not something damaged."""
    dying = path.with_name(f"{path.name}.tmp")
    path.rename(dying)
    _delete(dying)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: Path, target: Path) -> None:
    """Copy a file, all or nothing, also where the power fails.

    Raises:
        OSError: It cannot be written; nothing of it is left.
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

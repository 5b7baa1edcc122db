"""Checkpoints that are whole or do not exist.

A checkpoint is a folder `step-<n>` holding `state.pt` and `manifest.json`. It is written under a temporary name, every
file is flushed to the disk, the manifest with sizes and hashes comes last, and then the folder is renamed. Whatever
lacks a manifest that fits is passed over, with a line in the log, for the next older one.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from data.durable import flush

SCHEMA = 1
STATE, MANIFEST = "state.pt", "manifest.json"

_log = logging.getLogger(__name__)


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint and remove all but the newest `keep` (rank 0 only).

    Raises:
        OSError: The disk is full or the folder cannot be written; older checkpoints stay as they are.
    """
    final = folder / f"step-{step:010d}"
    if _damage(final) is None:
        return final
    temporary = final.with_name(f"{final.name}.tmp")
    for leftover in (final, *folder.glob("*.tmp")):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    with (temporary / STATE).open("wb") as stream:
        torch.save(state, stream)
        flush(stream)
    with (temporary / MANIFEST).open("w", encoding="utf-8") as stream:
        json.dump({"schema": SCHEMA, "step": step, "files": {STATE: _describe(temporary / STATE)}}, stream, indent=2)
        flush(stream)
    temporary.rename(final)
    _flush_folder(folder)
    for old in _newest_first(folder)[keep:]:
        shutil.rmtree(old)
    return final


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The state of the newest valid checkpoint, on the CPU, or None where there is none."""
    for path in _newest_first(folder):
        damage = _damage(path)
        if damage is None:
            return torch.load(path / STATE, map_location="cpu", weights_only=True)
        _log.warning("%s is passed over: %s", path, damage)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*") if path.suffix != ".tmp"), reverse=True)


def _damage(path: Path) -> str | None:
    """Why a checkpoint is not valid, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA:
            return f"schema {manifest['schema']}, this version reads {SCHEMA}"
        wrong = [name for name, listed in manifest["files"].items() if _describe(path / name) != listed]
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{', '.join(wrong)} differs from the manifest" if wrong else None


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

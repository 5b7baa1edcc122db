"""Writes and loads checkpoints, whose weights other programs can read.

`model.safetensors` and `ema.safetensors` hold the network's tensors under their own names, `state.pt` everything else,
and `manifest.json` the sizes and hashes of all. A checkpoint that does not match its manifest is skipped, with a line
in the log, for the next older one.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data import schema
from data.durable import flush
from trainer.checkpoint import files
from trainer.checkpoint.files import EMA, MANIFEST, MODEL, STATE, Manifest

_log = logging.getLogger(__name__)
UNREADABLE = (UnpicklingError, SafetensorError, ValueError, LookupError, TypeError, AttributeError, EOFError)
_APART = ("model", "ema", "about")  # entries of the tree that go into the files of weights


def write(
    folder: Path,
    step: int,
    tree: dict[str, Any],
    top1: float | None = None,
    token: str | None = None,
    guard: Callable[[], None] | None = None,
) -> Path:
    """Write a checkpoint, replacing one of the same step (rank 0 only).

    Args:
        folder: Of the checkpoints.
        step: Optimizer steps done.
        tree: `model` and, where there is an average, `ema`: the network's tensors by name; `about`: the
            metadata of the files of weights, texts by name; anything else, of tensors and plain data.
        top1: Top-1 of these weights, percent, where it is known.
        token: Of the writing process.
        guard: Called before the checkpoint is published, which it prevents by raising.

    Raises:
        OSError: The disk is full or the folder cannot be written; older checkpoints stay as they were.
    """
    final = files.place(folder, step)
    temporary = final.with_name(f"{final.name}.tmp")
    folder.mkdir(exist_ok=True)
    files.settle(folder)
    try:
        temporary.mkdir()
        listed = _write_files(temporary, tree)
        count = tree.get("records")
        manifest = Manifest(step=step, files=listed, top1=top1, time=time.time(), token=token, records=count)
        with (temporary / MANIFEST).open("x", encoding="utf-8") as stream:
            stream.write(manifest.text())
            flush(stream)
        files.flush_folder(temporary)
        if guard:
            guard()
        files.publish(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # frees space on a full disk
        raise
    return final


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The tree of the newest valid checkpoint, on the CPU, or None where there is none."""
    for path in files.newest_first(folder):
        damage = files.damage(path)
        try:
            if damage is None:
                return load(path)
        except UNREADABLE as error:  # written by another program, with hashes that fit
            damage = f"it holds more than tensors and plain data, which is not run, or less: {schema.reason(error)}"
        _log.warning("%s is skipped: %s", path, damage)
    return None


def load(path: Path) -> dict[str, Any]:
    """The tree of a valid checkpoint, on the CPU, as passed to `write`."""
    with safe_open(path / MODEL, "pt") as stream:
        about = {name: text for name, text in stream.metadata().items() if name != "format"}
    weights = {"model": _read_weights(path / MODEL), "about": about}
    if (path / EMA).exists():
        weights["ema"] = _read_weights(path / EMA)
    return {**weights, **torch.load(path / STATE, map_location="cpu", weights_only=True)}


def _write_files(folder: Path, tree: dict[str, Any]) -> dict[str, dict[str, Any]]:
    metadata = {**tree["about"], "format": "pt"}
    _write_weights(folder / MODEL, tree["model"], metadata)
    if "ema" in tree:
        _write_weights(folder / EMA, tree["ema"], metadata)
    _write_state(folder / STATE, {name: value for name, value in tree.items() if name not in _APART})
    return {name: files.describe(folder / name) for name in (MODEL, EMA, STATE) if (folder / name).exists()}


def _write_weights(file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    # through memory: safetensors makes files that only their owner can read, and hides the system's errors
    content = _ordered(safetensors.torch.save(_separate(tensors), metadata))
    with file.open("xb") as stream:
        stream.write(content)
        flush(stream)


def _ordered(content: bytes) -> bytes:
    """The file with its metadata sorted, so that equal weights make equal files: safetensors writes any order."""
    size = int.from_bytes(content[:8], "little")
    header = schema.parse(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(size) + content[8 + size :]


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory: the format has no strides and no sharing."""
    separate: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()  # NCHW in memory
        if own.untyped_storage().data_ptr() in storages:
            own = own.clone()
        storages.add(own.untyped_storage().data_ptr())
        separate[name] = own
    return separate


def _write_state(file: Path, state: dict[str, Any]) -> None:
    with file.open("xb") as stream:
        try:
            torch.save(state, stream)
        except RuntimeError as error:  # torch's archive raises its own after the system's error
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        flush(stream)


def _read_weights(file: Path) -> dict[str, Tensor]:
    # safetensors maps the file into memory; a copy stays valid after the file is removed
    return {name: tensor.clone() for name, tensor in safetensors.torch.load_file(file).items()}

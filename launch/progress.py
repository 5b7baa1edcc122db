"""The progress of a run, from the end of its metrics.jsonl, which may be large. Standard library only."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from data import schema
from trainer.hangs import SLOW_POINTS
from trainer.records import SCHEMA

Record = dict[str, Any]

_TAILS = (1 << 16, 4 << 20)  # bytes: mostly enough; more than an epoch of ImageNet with every step logged
_LINE = 1 << 16  # bytes: more than any record of a start
_LENGTHS = ("total_steps", "steps_per_epoch")
_KIND = re.compile(rb'"kind": *"(\w+)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Figures of the newest records; None: missing or damaged."""

    step: int | None = None
    """Optimizer steps done."""
    total_steps: int | None = None
    """Optimizer steps of the whole run."""
    epochs: int | None = None
    """Epochs of the whole run."""
    epoch: int | None = None
    """Epoch that the step belongs to, from 1."""
    top1: float | None = None
    """Of the newest evaluation, percent; of the EMA's weights if there are any."""
    images_per_s: float | None = None
    """Of all processes."""
    slow: tuple[int, float] | None = None
    """A process that has been the slowest by far for long, and how many times as long as the median it works."""
    diverged: str | None = None
    """Why and since which step the loss or the weights are not finite, where that is the newest record."""
    updated: float | None = None
    """When the newest record was written, seconds since 1970."""


def progress(file: Path) -> Progress:
    """Read the newest record of each kind; skips damaged and incomplete lines.

    Raises:
        NewerSchemaError: A newer version wrote it.
        OSError: The file exists and cannot be read.
    """
    try:
        with file.open("rb") as stream:
            newest = _newest(stream)
            stream.seek(0)
            first = _record(stream.readline(_LINE)) or {}  # each attempt writes a start, with the same number of steps
    except FileNotFoundError:
        return Progress()
    for started in (first, newest.get("start", {})):
        schema.check(started.get("schema"), SCHEMA, file)
    train, evaluated = newest.get("train", {}), newest.get("evaluation", {})
    written = (_number(record, "time") for record in newest.values())
    steps = (_whole(record, "step") for record in (train, evaluated))
    begun, rank, points = (_whole(train, name) for name in ("epoch", "slowest_rank", "slow_points"))
    ratio = _number(train, "slowest_ratio")
    total, per_epoch = (_whole(newest.get("start", {}), name) or _whole(first, name) for name in _LENGTHS)
    return Progress(
        step=max((step for step in steps if step is not None), default=None),
        total_steps=total,
        epochs=total // per_epoch if total and per_epoch else None,
        epoch=_whole(evaluated, "epoch") if begun is None else begun + 1,
        top1=_number(evaluated, "top1"),
        images_per_s=_number(train, "images_per_s"),
        slow=(rank, ratio) if ratio and rank is not None and (points or 0) >= SLOW_POINTS else None,
        diverged=_divergence(newest),
        updated=max(filter(None, written), default=None),
    )


def _newest(stream: BinaryIO) -> dict[str, Record]:
    """The last record of each kind, one for both evaluations, of which that of the EMA is written second."""
    newest: dict[str, Record] = {}
    size = stream.seek(0, os.SEEK_END)
    for tail in _TAILS:
        stream.seek(max(0, size - tail))
        for line in reversed(stream.read(tail).split(b"\n")):
            match = _KIND.search(line, 0, 64)
            kind = match[1].decode() if match else ""
            kind = "evaluation" if kind in ("eval", "eval_ema") else kind
            if kind and kind not in newest and (record := _record(line)):
                newest[kind] = record
        if size <= tail or {"train", "evaluation"} <= newest.keys():
            break
    return newest


def _divergence(newest: dict[str, Record]) -> str | None:
    if next(iter(newest), "") != "diverged":  # the newest was found first
        return None
    last = newest["diverged"]
    return f"diverged at step {_whole(last, 'first')}: {last.get('why')}"


def _record(line: bytes) -> Record | None:
    try:
        content = schema.parse(line)
    except (ValueError, RecursionError):
        return None
    return cast(Record, content) if isinstance(content, dict) else None


def _whole(record: Record, name: str) -> int | None:
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(record: Record, name: str) -> float | None:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None

"""Which checkpoints are kept, which are removed, and whether another fits. Pure functions; sizes in bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

GB = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Existing:
    """A checkpoint, as far as retention needs it."""

    step: int
    """Optimizer steps done."""
    top1: float | None = None
    """Top-1 of its weights, percent, where they were evaluated."""
    bytes: int
    valid: bool = True
    """Whether it can be loaded, as far as known; damaged ones do not count, and are removed first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The user's limits."""

    keep_checkpoints: int
    """Newest checkpoints that are kept, at least 1."""
    keep_best: int
    """Checkpoints of highest top-1 that are kept, even if they are not among the newest."""
    budget: int | None = None
    """Most space of all together. None: no limit."""


def surplus(existing: Iterable[Existing], limits: Limits, written: int) -> list[int]:
    """The steps whose checkpoints are removed after that of step `written` was written, oldest first.

    Newer ones, from which the run did not go on, are neither counted nor removed. Of equal top-1 the earlier is kept,
    so a top-1 that no longer rises causes no rewriting.
    """
    past = [one for one in existing if one.step <= written]
    valid = sorted((one for one in past if one.valid), key=lambda one: -one.step)
    kept = {written, *(one.step for one in valid[: limits.keep_checkpoints]), *best(valid, limits.keep_best)}
    return sorted(one.step for one in past if one.step not in kept)


def best(existing: Iterable[Existing], keep_best: int) -> list[int]:
    """The steps of highest top-1, the best first; of equal ones the earlier."""
    rated = [(-one.top1, one.step) for one in existing if one.valid and one.top1 is not None]
    return [step for _, step in sorted(rated)[:keep_best]]


def evicted(existing: Sequence[Existing], new: Existing, limits: Limits, newest_valid: int | None) -> list[int]:
    """The steps whose checkpoints must be removed before `new` is written, so that all fit into the budget.

    Damaged ones first, then the oldest that are not among the best, then the best, the lowest first; never the newest
    valid one, from which the run goes on if the write is killed.

    Raises:
        ValueError: `new` does not fit even then; the message names the flags.
    """
    over = sum(one.bytes for one in existing) + new.bytes - (limits.budget or 0)
    if limits.budget is None or over <= 0:
        return []
    ranks = best([*existing, new], limits.keep_best)
    order = sorted(
        (one for one in existing if one.step != newest_valid),
        key=lambda one: (one.valid, one.step in ranks, -ranks.index(one.step) if one.step in ranks else one.step),
    )
    steps: list[int] = []
    for one in order:
        if over > 0:
            steps.append(one.step)
            over -= one.bytes
    if over > 0:
        raise ValueError(_too_small(new.bytes, limits.budget, over))
    return steps


def space_problem(folder: Path, needed: int, free: int) -> str | None:
    """Why a checkpoint does not fit on the file system, or None."""
    if needed <= free:
        return None
    return (
        f"{folder}: the checkpoint needs {_gb(needed)} GB, and {_gb(free)} GB are free there; make room, lower "
        "--keep-checkpoints, or limit them by --checkpoints-gb"
    )


def _too_small(needed: int, budget: int, over: int) -> str:
    return (
        f"--checkpoints-gb: {_gb(budget)} is too small for a checkpoint of {_gb(needed)} GB beside the newest, which "
        f"is kept until that is written; set it to {_gb(budget + over, up=True)} or more, which --keep-checkpoints 1 "
        "needs as well"
    )


def _gb(size: int, *, up: bool = False) -> str:
    """Gigabytes to three significant digits; `up` rounds up, so that an advised size is enough."""
    text = f"{size / GB:.3g}"
    return f"{size / GB * 1.005:.3g}" if up and float(text) * GB < size else text

"""The attempts of a run: where each began, how it ended, and whether to start another. Standard library only."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from data import schema
from data.durable import opened
from data.schema import NewerSchemaError
from launch.submission import DamagedRecordError
from trainer.checkpoint import files
from trainer.exits import ABORTED, BAD_INPUT, FAILED, KILLED

SCHEMA = 1

Then = Literal["again", "done", "stopped", "cancelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One start of the run's processes."""

    number: int
    """From 1, over all jobs of the run."""
    job: str
    """Slurm's job id, or the process id of a local job."""
    restart: int
    """How often Slurm had restarted that job."""
    nodes: str
    """Slurm's list of nodes, or the host."""
    step: int
    """Step of the checkpoint that it began from; 0 without one."""
    time: float
    """When it began, seconds since 1970."""
    end: "End | None" = None
    """None: it is running, or its node was lost before it could write its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The end of an attempt."""

    code: int
    """Exit code of the trainer, or of its launcher."""
    step: int
    """Step of the newest checkpoint."""
    then: Then
    """What follows; `why` gives the reason."""
    why: str
    time: float
    """When it ended, seconds since 1970."""
    excluded: dict[str, str] = field(default_factory=dict[str, str])
    """Nodes that later attempts of the job do not get, and why."""


def read(file: Path) -> list[Attempt]:
    """All attempts so far; skips a line that a lost node left incomplete.

    Raises:
        DamagedRecordError: A newer version wrote it.
    """
    attempts: dict[int, Attempt] = {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for line in lines:
        try:
            content = schema.parse(line)
            if content.pop("event") == "begin":
                schema.check(content.get("schema"), SCHEMA, file)
                attempts[content["number"]] = Attempt(**schema.known_fields(Attempt, content))
            else:
                number = content.pop("number")
                attempts[number] = replace(attempts[number], end=End(**schema.known_fields(End, content)))
        except NewerSchemaError as error:
            raise DamagedRecordError(str(error)) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return list(attempts.values())


def begin(file: Path, *, job: str, restart: int, nodes: str, step: int) -> Attempt:
    """Append that an attempt begins."""
    number = max((attempt.number for attempt in read(file)), default=0) + 1
    attempt = Attempt(number=number, job=job, restart=restart, nodes=nodes, step=step, time=time.time())
    fields = asdict(attempt)
    del fields["end"]
    _append(file, {"event": "begin", "schema": SCHEMA, **fields})
    return attempt


def end(file: Path, attempt: Attempt, end: End) -> None:
    _append(file, {"event": "end", "number": attempt.number, **asdict(end)})


def newest_step(checkpoints: Path) -> int:
    """Step of the newest checkpoint whose files have the right sizes, or 0."""
    whole = (path for path in files.newest_first(checkpoints) if files.damage(path, hashes=False) is None)
    return next((files.step_of(path) for path in whole), 0)


def verdict(
    code: int, history: list[Attempt], step: int, limit: int, *, cancelled: bool, said: str = ""
) -> tuple[Then, str]:
    """What follows an attempt, and why.

    Args:
        code: Its exit code.
        history: All attempts of the run, this one last.
        step: Step of the newest checkpoint.
        limit: Consecutive attempts that may end without a newer checkpoint.
        cancelled: Whether the user has cancelled the job.
        said: Why it ended, in the trainer's words.
    """
    if code == 0:
        return "done", "finished"
    if cancelled:
        return "cancelled", f"cancelled at step {step:,}"
    if code == BAD_INPUT:
        return "stopped", f"it cannot start (exit code 2): {said or 'the log says what to change'}"
    if code == FAILED:
        return "stopped", f"it failed, and would fail again (exit code 1): {said or 'the log says why'}"
    ended = replace(history[-1], end=End(code=code, step=step, then="stopped", why="", time=time.time()))
    if problem := stuck([*history[:-1], ended], step, limit):
        return "stopped", problem + (f"; the last: {said}" if said else "")
    why = f"{meaning(code)} ({said})" if code == ABORTED and said else meaning(code)
    return "again", f"{KILLED if said == KILLED else why}; goes on from step {step:,}"


def stuck(history: list[Attempt], step: int, limit: int) -> str | None:
    """Why not to start another attempt: the newest job's last `limit` ones all began at this step; None: start one."""
    last = [attempt for attempt in history if attempt.job == history[-1].job][-limit:] if history else []
    if len(last) < limit or any(attempt.step < step for attempt in last):
        return None
    ends = ", ".join(meaning(attempt.end.code) if attempt.end else "lost" for attempt in last)
    return (
        f"{limit} attempts in a row began at step {step:,} and none wrote a newer checkpoint ({ends}); see the "
        "log, then provenet resume; --save-minutes or --save-steps saves more often, --hours gives more time"
    )


def excluded(history: Iterable[Attempt], job: str) -> dict[str, str]:
    """Nodes that a job no longer gets, and why."""
    ends = (attempt.end for attempt in history if attempt.job == job and attempt.end)
    return {node: why for end in ends for node, why in end.excluded.items()}


def meaning(code: int) -> str:
    """An exit code in words."""
    if code > 128:
        return f"killed by signal {code - 128}"
    return {0: "finished", 75: "stopped cleanly", 70: "aborted"}.get(code, f"exit code {code}")


def _append(file: Path, content: dict[str, Any]) -> None:
    """Append a line in a single write, as an attempt on a node without network may still run beside this one.

    A line that a lost node left incomplete is ended first.
    """
    descriptor = opened(file, os.O_RDWR | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        rest = ("\n" * torn + json.dumps(content) + "\n").encode()
        while rest:  # a disk that is nearly full takes a part, and says why only when asked for more
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The results of a sweep: mean and spread over seeds. Standard library only."""

import fcntl
import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data import schema
from data.durable import opened
from launch.array.sweep import Member, Settings
from launch.submission import LaunchFolder
from trainer.evaluation.statistics import spread
from trainer.rundir import RunDirectory, write_text

FILE = "summary.md"
_MEMBERS = "sweep.json"  # in the private folder
HEAD = ("settings", "runs", "top-1, %", "top-5, %")


def summarize(root: Path, members: Sequence[Member]) -> tuple[list[tuple[str, ...]], str]:
    """Rows below HEAD, each of the runs that differ only in their seed, and a note on how they were measured."""
    groups: dict[str, list[dict[str, Any] | None]] = {}
    for member in members:
        groups.setdefault(_without_seed(member.settings), []).append(RunDirectory(root / member.name).finished())
    protocols = {str(result["protocol"]) for group in groups.values() for result in group if result}
    measured = " / ".join(sorted(protocols)) or "nothing has finished yet"
    rows = [_row(settings, group) for settings, group in groups.items()]
    return rows, f"mean +- standard deviation over seeds; {measured}"


def keep(root: Path, members: Sequence[Member]) -> None:
    """Record which runs belong to the table, and write it."""
    named = [{"name": member.name, "settings": member.settings} for member in members]
    write_text(LaunchFolder(root).path / _MEMBERS, json.dumps(named))
    refresh(root)


def refresh(root: Path) -> None:
    """Write the table beside the runs, from the results that exist so far."""
    file = LaunchFolder(root).path / _MEMBERS
    with _locked(file):
        members: list[dict[str, Any]] = schema.parse(file.read_text(encoding="utf-8")) if file.exists() else []
        rows, note = summarize(root, [Member(**member) for member in members])
        lines = [HEAD, ("---",) * len(HEAD), *rows]
        write_text(root / FILE, "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{note}\n")


@contextmanager
def _locked(file: Path) -> Generator[None]:
    """Let runs that finish together write one after the other, if the file system has locks."""
    with os.fdopen(opened(file.with_suffix(".lock"), os.O_WRONLY), "w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _row(settings: str, group: list[dict[str, Any] | None]) -> tuple[str, ...]:
    results = [result for result in group if result]
    spreads = (str(spread([float(result[top]) for result in results])) if results else "" for top in ("top1", "top5"))
    return (settings, f"{len(results)} of {len(group)}", *spreads)


def _without_seed(settings: Settings) -> str:
    texts = {path: value if isinstance(value, str) else json.dumps(value) for path, value in settings.items()}
    return ", ".join(f"{path} {text}" for path, text in texts.items() if path != "seed") or "recipe"

"""What the runs of a sweep came to: mean and spread over seeds. Standard library only."""

import fcntl
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.array.sweep import Member, Settings
from launch.submission import LaunchFolder
from trainer.evaluation.statistics import spread
from trainer.rundir import RunDirectory, write_text

FILE = "summary.md"
_MEMBERS = "sweep.json"  # in the private folder
HEAD = ("settings", "runs", "top-1, %", "top-5, %")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The runs that differ in their seed alone."""

    settings: str
    finished: int
    of: int
    top1: str
    """Mean and sample standard deviation, percent."""
    top5: str

    @property
    def cells(self) -> tuple[str, ...]:
        """For the table."""
        return (self.settings, f"{self.finished} of {self.of}", self.top1, self.top5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A sweep as it stands."""

    rows: Sequence[Row]
    protocols: Sequence[str]
    """How the accuracies were measured; more than one cannot be compared."""

    @property
    def note(self) -> str:
        """What the numbers mean."""
        measured = " / ".join(self.protocols) or "nothing has finished yet"
        return f"mean +- standard deviation over seeds; {measured}"

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [HEAD, tuple("---" for _ in HEAD), *(row.cells for row in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{self.note}\n"


def summarize(root: Path, members: Sequence[Member]) -> Summary:
    """Gather the results that there are."""
    groups: dict[str, list[dict[str, Any] | None]] = {}
    for member in members:
        groups.setdefault(_without_seed(member.settings), []).append(RunDirectory(root / member.name).finished())
    results = [result for group in groups.values() for result in group if result]
    return Summary(
        rows=[_row(settings, group) for settings, group in groups.items()],
        protocols=sorted({str(result["protocol"]) for result in results}),
    )


def keep(root: Path, members: Sequence[Member]) -> None:
    """Note which runs belong to the table, and write it."""
    named = [{"name": member.name, "settings": member.settings} for member in members]
    write_text(LaunchFolder(root).path / _MEMBERS, json.dumps(named))
    refresh(root)


def refresh(root: Path) -> None:
    """Write the table beside the runs, from the results that there are."""
    file = LaunchFolder(root).path / _MEMBERS
    with _alone(file):
        _write(root, file)


def _write(root: Path, file: Path) -> None:
    members: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    write_text(root / FILE, summarize(root, [Member(**member) for member in members]).markdown())


@contextmanager
def _alone(file: Path) -> Generator[None]:
    """Runs that finish together write one after the other, where the file system has locks."""
    with file.with_suffix(".lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _row(settings: str, group: list[dict[str, Any] | None]) -> Row:
    results = [result for result in group if result]
    return Row(
        settings=settings,
        finished=len(results),
        of=len(group),
        top1=_spread([float(result["top1"]) for result in results]),
        top5=_spread([float(result["top5"]) for result in results]),
    )


def _spread(values: list[float]) -> str:
    return str(spread(values)) if values else ""


def _without_seed(settings: Settings) -> str:
    shown = {path: value for path, value in settings.items() if path != "seed"}
    return ", ".join(f"{path} {_text(value)}" for path, value in shown.items()) or "recipe"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)

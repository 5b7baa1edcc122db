"""What a command shows on a terminal: tables as plain text, progress, time spans."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from data import types

QUIET_VARIABLE = "PROVENET_QUIET"  # set: no progress is shown, in this process and in those that it starts
LINE_EVERY_S = 5.0

Item = TypeVar("Item")


def hush(quiet: bool) -> None:
    """Show no progress from now on, if so asked."""
    if quiet:
        os.environ[QUIET_VARIABLE] = "1"


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to stdout, one line a row whatever the terminal's width; what is there when Ctrl-C comes, too."""
    lines = [head]
    try:
        lines += rows
    finally:
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            sys.stdout.write("  ".join(cells).rstrip() + "\n")


def progress(items: Sequence[Item], what: str = "done") -> Iterable[Item]:
    """The items, with a bar on stderr while someone watches, and a line now and then in a log file."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if os.environ.get(QUIET_VARIABLE):
        return items
    if console.is_terminal:
        return track(items, description=what, console=console, transient=True)
    return _in_lines(items, what, console)


@contextmanager
def counting(what: str, unit: str) -> Iterator[types.Progress]:
    """Give a function that takes what is done and what there is in all, and shows them."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if os.environ.get(QUIET_VARIABLE):
        yield types.unwatched
        return
    if not console.is_terminal:
        yield _Lines(console, what, unit)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task, pace = bar.add_task(unit, total=None), _Pace()
        yield lambda done, total: bar.update(
            task, completed=done, total=total, description=paced(pace(done), unit) or unit
        )


def paced(rate: float, unit: str) -> str:
    """A rate as people read it; empty for none."""
    if rate >= 10:
        return f"{rate:,.0f} {unit}/s"
    if rate >= 1:
        return f"{rate:.1f} {unit}/s"
    return f"{1 / rate:,.0f} s each" if rate > 0 else ""


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say on stderr what takes its time, while it does: of that no share is known."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if os.environ.get(QUIET_VARIABLE):
        yield
    elif console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(what, markup=False)
        yield


def age(seconds: float) -> str:
    """A time span in its largest unit that it fills twice."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _in_lines(items: Sequence[Item], what: str, console: Console) -> Iterator[Item]:
    last = monotonic()
    for done, item in enumerate(items):
        if monotonic() - last >= LINE_EVERY_S:
            last = monotonic()
            console.print(f"{what}: {done:,} of {len(items):,}", markup=False)
        yield item


class _Pace:
    """Things done per second since the first call, which may find some done."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int) -> float:
        now = monotonic()
        start, before = self._first = self._first or (now, done)
        return (done - before) / max(now - start, 1e-3)


class _Lines:
    def __init__(self, console: Console, what: str, unit: str) -> None:
        self._console, self._what, self._unit = console, what, unit
        self._pace = _Pace()
        self._last, self._done = monotonic(), 0

    def __call__(self, done: int, total: int) -> None:
        rate = self._pace(done)
        if monotonic() - self._last < LINE_EVERY_S or done == self._done:
            return
        self._last, self._done = monotonic(), done
        left = f", {paced(rate, self._unit)}, {(total - done) / rate:,.0f} s left" if rate else ""
        self._console.print(f"{self._what}: {done:,} of {total:,} {self._unit}{left}", markup=False)

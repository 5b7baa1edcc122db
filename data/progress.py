"""How far a long command is: a bar on a terminal, a line now and then in a log file. Both go to standard error."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data import types

QUIET_VARIABLE = "PROVENET_QUIET"  # set: no progress is shown, in this process and in those that it starts
LINE_EVERY_S = 5.0


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

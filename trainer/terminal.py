"""What a command shows on a terminal: tables as plain text, progress, time spans."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from data.progress import QUIET_VARIABLE

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

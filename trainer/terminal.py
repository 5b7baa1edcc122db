"""What a command shows on a terminal: text from files, tables, progress, time spans. Loads rich only for a progress."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from data import names, types

if TYPE_CHECKING:
    from rich.console import Console

QUIET_VARIABLE = "PROVENET_QUIET"  # set: no progress is shown, in this process and in those that it starts
LINE_EVERY_S = 5.0

# CSI sequences, such as colours; OSC and the like, with their end; all others
_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|\x1b(?:[ -/]*[0-Z\\^-~])?",
)
# the other control characters; what reverses the direction of text; lone surrogates, as in names of files
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

Item = TypeVar("Item")


def clean(text: str) -> str:
    """One line of text: without escape sequences, and with a mark for each other control character but the tab."""
    return _CONTROL.sub("\ufffd", _ESCAPE.sub("", text)) if not (text.isascii() and text.isprintable()) else text


def in_one_line(text: str) -> str:
    """The same for text of several lines."""
    return clean(" ".join(text.split()))


def write(text: str) -> None:
    """Write text with names in it to stdout, escaped, and with marks for characters that its encoding lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(names.lines(text).encode(encoding, "replace").decode(encoding))


def remark(text: str) -> None:
    """Write a line of the launcher's own to stderr, where it may be among those of the processes that it started."""
    sys.stderr.write(f"launch: {in_one_line(text)}\n")
    sys.stderr.flush()


def narrate(package: str) -> None:
    """Show on stderr what a library logs of its work."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger(package).setLevel(logging.INFO)


def until_reader_leaves(run: Callable[[], int]) -> int:
    """Run a command whose reader, such as `head`, may close the pipe before the command ends: that is no failure."""
    code = 0
    try:
        try:
            code = run()
        finally:  # tyro ends --help by an exception
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # Python would complain of unwritten output at its exit
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return code


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to stdout, one line a row whatever the terminal's width; at Ctrl-C, the rows that there are."""
    lines = [list(head)]
    try:
        lines += (list(map(names.shown, row)) for row in rows)
    finally:
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            write("  ".join(cells).rstrip() + "\n")


def hush(quiet: bool) -> None:
    """Show no progress from now on, if `quiet`."""
    if quiet:
        os.environ[QUIET_VARIABLE] = "1"


def progress(items: Sequence[Item], what: str, unit: str) -> Iterator[Item]:
    """The items one after the other, their number shown by `counting`."""
    with counting(what, unit) as count:
        count(0, len(items))
        for done, item in enumerate(items, 1):
            yield item
            count(done, len(items))


@contextmanager
def counting(what: str, unit: str) -> Iterator[types.Progress]:
    """Give a function that is called with what is done and the total: a bar on a terminal, in a file lines."""
    console = _console()
    if os.environ.get(QUIET_VARIABLE):
        yield types.unwatched
    elif console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task, pace = bar.add_task(unit, total=None), _Pace()
            yield lambda done, total: bar.update(
                task, completed=done, total=total, description=paced(pace(done), unit) or unit
            )
    else:
        yield _Lines(console, what, unit)


def paced(rate: float, unit: str) -> str:
    """A rate with two digits or more; empty for none."""
    if rate >= 10:
        return f"{rate:,.0f} {unit}/s"
    if rate >= 1:
        return f"{rate:.1f} {unit}/s"
    return f"{1 / rate:,.0f} s each" if rate > 0 else ""


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show on stderr what is being done, where nothing can be counted."""
    console = _console()
    if os.environ.get(QUIET_VARIABLE):
        yield
    elif console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(what, markup=False)
        yield


def age(seconds: float) -> str:
    """A time span in the largest unit of which it has two or more."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)


class _Pace:
    """Things done per second since the first call, at which some may be done already."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int) -> float:
        now = monotonic()
        start, before = self._first = self._first or (now, done)
        return (done - before) / max(now - start, 1e-3)


class _Lines:
    def __init__(self, console: "Console", what: str, unit: str) -> None:
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

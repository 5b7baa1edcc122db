"""The table of `provenet status`: on a terminal, in plain lines, as JSON."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from data.names import shown
from launch.progress import Progress
from launch.run_state import State, UnderWay
from trainer import terminal
from trainer.terminal import age, in_one_line, remark, write

HEAD = ("run", "state", "job", "step", "epoch", "top-1", "images/s", "restarts", "ETA", "note")

_RIGHT = frozenset({"job", "step", "epoch", "top-1", "images/s", "restarts", "ETA"})
_STYLE: dict[State, str] = {
    "running": "green",
    "finished": "bold green",
    "queued": "cyan",
    "waiting": "cyan",
    "suspended": "yellow",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "stopped": "bold red",
    "lost": "bold red",
    "unknown": "magenta",
    "not running": "dim",
}
_AROUND = 4  # lines of a terminal for head, foot and cursor
_WIDE = 110  # columns that a table with notes needs


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A run; None: unknown."""

    run: str
    """Its path below the folder of the command."""
    state: State
    job: str | None
    """Id of the job that was queued last."""
    progress: Progress
    restarts: int | None
    """Attempts without the first."""
    eta_s: float | None
    """Seconds of training that are left, of a running run."""
    note: str
    """What is wrong, what it waits for, what to do."""

    def plain(self) -> dict[str, Any]:
        row = asdict(self)
        progress = row.pop("progress")
        del progress["updated"], progress["slow"], progress["diverged"]
        return {name: row.pop(name) for name in ("run", "state", "job")} | progress | row

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of `HEAD`."""
        far = self.progress
        return (
            shown(self.run),
            self.state,
            in_one_line(self.job or "-"),
            _of(far.step, far.total_steps),
            _of(far.epoch, far.epochs),
            "-" if far.top1 is None else f"{far.top1:.2f}",
            "-" if far.images_per_s is None else f"{far.images_per_s:,.0f}",
            "-" if self.restarts is None else str(self.restarts),
            "-" if self.eta_s is None else age(self.eta_s),
            in_one_line(self.note),
        )


@dataclass(frozen=True, slots=True)
class Board:
    """All runs below the folder `root` at one moment."""

    root: Path
    rows: list[Row]
    remarks: list[str]
    """What concerns more than one run."""


def show(board: Board, *, as_json: bool) -> None:
    """A table on a terminal, elsewhere a line for each run, however long; or one JSON array. Remarks go to stderr."""
    if as_json:
        write(json.dumps([row.plain() for row in board.rows], indent=2) + "\n")
    elif sys.stdout.isatty() and board.rows:
        console = Console()
        console.print(picture(board.rows, console.width))
    elif board.rows:
        terminal.show(HEAD, [row.cells() for row in board.rows])
    else:
        write(f"no run directory in {in_one_line(str(board.root))}: none holds a recipe.yaml\n")
    for text in board.remarks:
        remark(text)


def watch(collect: Callable[[], Board], every_s: float) -> int:
    """Show the runs every `every_s` seconds, until Ctrl-C."""
    console = Console()
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(screenful(collect(), console.width, console.height), refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        return 0


def picture(rows: list[Row], width: int, *, cut: bool = False) -> Group:
    """The runs with colours; what is too long is folded, or `cut`. On a narrow terminal the notes come below."""
    if width >= _WIDE:
        return Group(_table(rows, HEAD, cut=cut))
    notes = (in_one_line(f"{shown(row.run)}: {row.note}") for row in rows if row.note)
    names = tuple(name for name in HEAD if name not in ("job", "note"))
    return Group(_table(rows, names, cut=cut), *(Text(note, "dim", no_wrap=cut, overflow="ellipsis") for note in notes))


def _table(rows: list[Row], names: tuple[str, ...], *, cut: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in names:
        fixed = name not in ("run", "note")
        side = "right" if name in _RIGHT else "left"
        table.add_column(name, justify=side, no_wrap=fixed or cut, overflow="ellipsis" if cut else "fold")
    for row in rows:
        cells: dict[str, str] = dict(zip(HEAD, row.cells(), strict=True))
        table.add_row(*(Text(cells[name], _STYLE[row.state] if name == "state" else "") for name in names))
    return table


def screenful(board: Board, width: int, height: int) -> Group:
    """As many runs as fit on the screen: first those under way, then those that need the user."""
    lines_left = height - _AROUND - len(board.remarks)
    rows: list[Row] = []
    for row in sorted(board.rows, key=_urgency):
        lines_left -= 2 if row.note and width < _WIDE else 1
        if lines_left >= 0:
            rows.append(row)
    more = [f"and {len(board.rows) - len(rows)} more"] if len(rows) < len(board.rows) else []
    foot = [*more, *board.remarks, f"{time.strftime('%H:%M:%S')}  Ctrl-C ends; {len(board.rows)} runs in {board.root}"]
    lines = (Text(in_one_line(line), "dim", no_wrap=True, overflow="ellipsis") for line in foot)
    return Group(picture(rows, width, cut=True), *lines)


def _urgency(row: Row) -> int:
    if row.state in get_args(UnderWay):
        return 0
    return 1 if row.state in ("stopped", "lost", "unknown") else 2


def _of(done: int | None, total: int | None) -> str:
    if done is None:
        return "-"
    return f"{done:,}" if total is None else f"{done:,}/{total:,}"

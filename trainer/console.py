"""The output of a run: a progress bar on a terminal, plain lines in a log file. Used by rank 0 only."""

import time

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TextColumn

from data.names import lines

LINE_EVERY_S = 10.0  # in a log file: a line for every point would be thousands of lines


class Console:
    """Standard output, with at most one bar at the bottom."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Show nothing yet; `quiet`: only what is passed to `say`."""
        self._terminal = Terminal(soft_wrap=True, highlight=False)
        self._quiet = quiet
        self._bar = Progress(
            BarColumn(bar_width=12),  # first: a narrow terminal cuts the end of the line
            TextColumn("{task.description}"),
            console=self._terminal,
            transient=True,
            disable=quiet or not self._terminal.is_terminal,
        )
        self._last_line = 0.0
        self._evaluation_due: float | None = None  # when to print the next line; None: no evaluation is running
        self._trained: tuple[str, int, int] | None = None

    def say(self, text: str) -> None:
        """Print a line above the bar: a result or a warning."""
        self._terminal.print(lines(text), markup=False)

    def narrate(self, text: str) -> None:
        """Print a line above the bar, unless the run is quiet."""
        if not self._quiet:
            self.say(text)

    def training(self, text: str, step: int, total_steps: int) -> None:
        """Show the progress of training."""
        if self._quiet:
            return
        if self._terminal.is_terminal:
            self._trained = (text, step, total_steps)
            self._show(text, step, total_steps)
        elif time.monotonic() - self._last_line >= LINE_EVERY_S or step == total_steps:
            self._last_line = time.monotonic()
            self.say(text)

    def evaluating(self, done: int, total: int) -> None:
        """Show the progress of an evaluation in images; after the last, the bar shows training again."""
        if self._quiet:
            return
        text = f"evaluating {done:,} of {total:,} images"
        if self._terminal.is_terminal:
            self._show(*(self._trained if done >= total and self._trained else (text, done, total)))
        elif done >= total:
            self._evaluation_due = None
        elif self._evaluation_due is None or time.monotonic() >= self._evaluation_due:
            if self._evaluation_due is not None:  # an evaluation of a few seconds needs no line
                self.say(text)
            self._evaluation_due = time.monotonic() + LINE_EVERY_S

    def close(self) -> None:
        if self._terminal.is_terminal:
            self._bar.stop()

    def _show(self, text: str, done: int, total: int) -> None:
        task = self._bar.task_ids[0] if self._bar.task_ids else self._bar.add_task(text)
        self._bar.start()
        self._bar.update(task, completed=done, total=total, description=text)

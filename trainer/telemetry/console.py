"""What the user sees of a run: a bar on a terminal, plain lines in a log file. Rank 0's alone."""

import time

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TextColumn

LINE_EVERY_S = 10.0  # in a log file: a line for every point would be thousands of lines


class Console:
    """Standard output, with at most one bar at its foot."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._terminal = Terminal(soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            console=self._terminal,
            transient=True,
            disable=not self._terminal.is_terminal,
        )
        self._last_line = 0.0

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._terminal.print(text, markup=False)

    def training(self, text: str, step: int, total_steps: int) -> None:
        """Show how far training is."""
        if self._terminal.is_terminal:
            task = self._bar.task_ids[0] if self._bar.task_ids else self._bar.add_task(text)
            self._bar.start()
            self._bar.update(task, completed=step, total=total_steps, description=text)
        elif time.monotonic() - self._last_line >= LINE_EVERY_S or step == total_steps:
            self._last_line = time.monotonic()
            self.say(text)

    def close(self) -> None:
        """Remove the bar."""
        if self._terminal.is_terminal:
            self._bar.stop()

"""Signals become a flag: what must be saved is saved at the next step's end. Standard library only.

Work in a handler would be worse than none: Slurm sends CONT along with USR2, and a handler that writes can interrupt
itself in the middle of a write. The one exception saves nothing either: Ctrl-C again and again ends the process.
"""

import signal
from types import FrameType

START_AGAIN = 75  # sysexits' EX_TEMPFAIL: stopped cleanly, start the same command again

IMPATIENT = 3  # Ctrl-C so many times ends the process at once: a step may hang; torchrun doubles the first by itself

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


def go_deaf() -> None:
    """Take no notice of another stop: Python would die of it while it takes itself down, and lose its exit code."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequestedError(Exception):
    """A stop was asked for while there was nothing to save yet."""


class StopFlag:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        """Not asked yet."""
        self._signal: int | None = None
        self._interrupts = 0

    def install(self) -> None:
        """Listen from now on; only the main thread may call this."""
        for number in _SIGNALS:
            signal.signal(number, self._raise)

    @property
    def is_set(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    def check(self) -> None:
        """Give up what goes before the first step.

        Raises:
            StopRequestedError: A signal came.
        """
        if self._signal is not None:
            raise StopRequestedError(signal.Signals(self._signal).name)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= IMPATIENT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)

"""A signal that asks for a stop sets a flag; the run is saved at the end of the step. Standard library only.

The handler does nothing else: Slurm sends CONT along with USR2, and a handler that writes can interrupt itself in the
middle of a write. Only Ctrl-C, pressed several times, ends the process at once, without saving.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

START_AGAIN = 75  # EX_TEMPFAIL of sysexits: stopped after saving; the same command continues the run

INTERRUPTS = 3  # Ctrl-C so many times ends the process at once: a step may hang; torchrun sends the first twice

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)


def ignore_signals() -> None:
    """Ignore further stop signals: one that arrives while the interpreter shuts down would replace the exit code."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequestedError(Exception):
    """A stop was asked for before the first step; there is nothing to save."""


class StopFlag:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._interrupts = 0
        self.met = False
        """Whether the processes of the run have met: from then on all are saved and stop together."""
        self.noticed = 0
        """How often the main thread has noticed that signals arrived."""

    def install(self) -> None:
        """Install the signal handlers; only the main thread may call this."""
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # which nohup ignores
                signal.signal(number, self._raise)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """`install` while the block runs, and put the handlers back that were there; nothing but in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def is_set(self) -> bool:
        return self._signal is not None

    def check(self) -> None:
        """Raise if a stop was asked for; called before the first step.

        Raises:
            StopRequestedError: A signal arrived.
        """
        if self._signal is not None:
            raise StopRequestedError(signal.Signals(self._signal).name)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number
        self.noticed += 1
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= INTERRUPTS:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)

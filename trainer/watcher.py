"""A thread that ends this process at a stop which the main thread does not notice. Standard library only.

Python's signal handlers run in the main thread, and not while that waits in native code: for a rank that never comes,
or in a collective whose peer is stuck. The thread also looks whether the launcher of this process still lives.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import NoReturn

from trainer.cpus import has_gpu
from trainer.exits import record, say
from trainer.stopping import SIGNALS, START_AGAIN, StopFlag
from trainer.world import orphaned

HANGS_S = 5.0  # a main thread that runs no Python for so long hangs, unless it computes

_ANSWER_S = 0.2  # in which a main thread that runs Python notices a signal
_LOOK_S = 1.0
_COMPUTES = 0.1  # of a CPU: on a CPU the backward pass of a whole batch is one native call, and takes many seconds


@contextmanager
def watching(stop: StopFlag, *, launched: bool) -> Iterator[None]:
    """Watch for signals while the block runs, and for the death of the launcher if one started this process.

    A stop ends the process with `START_AGAIN` before the processes have met (`stop.met`); later the second one does, if
    the main thread has noticed neither and hangs. Only the main thread may call this.
    """
    arrivals, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # or a child's signals would count as ours
    Thread(target=_Watcher(stop, arrivals, launched).run, name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(wakeup)  # which ends the thread


class _Watcher:
    def __init__(self, stop: StopFlag, arrivals: int, launched: bool) -> None:
        self._stop, self._arrivals, self._launched = stop, arrivals, launched
        self._noticed = self._unnoticed = 0

    def run(self) -> None:
        while arrived := self._next():
            stops = [number for number in arrived if number in SIGNALS]
            if stops and not self._stop.met:
                _end(stops[-1], "before the first step; the same command starts again")
            self._unnoticed += len(stops)
            while not self._answered() and self._unnoticed > 1:
                spent = time.process_time()
                time.sleep(HANGS_S)
                # a thread that waits for a GPU spins
                idle = has_gpu() or time.process_time() - spent < _COMPUTES * HANGS_S
                if idle and not self._answered():
                    _end(stops[-1], "while it hung, as another process may: not saved; the same command goes on")
        os.close(self._arrivals)

    def _next(self) -> bytes:
        """Wait for signals, and return their numbers; nothing once the block has ended."""
        while not select.select([self._arrivals], [], [], _LOOK_S if self._launched else None)[0]:
            if orphaned():
                self._launched = False
                self._unnoticed = 1  # nobody is left who would send the second
                with suppress(OSError):
                    sys.stderr.write("the launcher of this process has died: stopping as at SIGTERM\n")
                os.kill(os.getpid(), signal.SIGTERM)
        if self._stop.met:
            time.sleep(_ANSWER_S)
        return os.read(self._arrivals, 1024)

    def _answered(self) -> bool:
        """Whether the main thread has noticed signals since the last look."""
        before, self._noticed = self._noticed, self._stop.noticed
        if answered := self._noticed != before:
            self._unnoticed = 0
        return answered


def _end(number: int, when: str) -> NoReturn:
    with suppress(OSError, ValueError):  # nobody reads it
        say(f"stopped by {signal.Signals(number).name} {when}", START_AGAIN)
    record(START_AGAIN)
    os._exit(START_AGAIN)

"""Run a launcher so that a stop leaves its processes time to save, and their exit code comes through.

Standard library only. `torchrun` and `accelerate launch` kill their processes 30 s after a signal, die of USR2, and
turn every code but 0 into 1; `srun` answers TERM by killing at once. Everything started here carries the name of one
file in its environment: there the trainer leaves its code, and by it are found, below any launcher, the processes that
still have to end.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from trainer.checkpoint.grace import GRACE_VARIABLE
from trainer.cpus import ALLOCATOR, SLEEPING, has_gpu
from trainer.exits import ABORTED, BAD_INPUT, BEGUN, EXIT_CODE_VARIABLE, FAILED, INTERRUPTED, refuse
from trainer.stopping import INTERRUPTS, START_AGAIN
from trainer.terminal import remark

_LOOK_S = 0.1
_SIGNALLED = 128  # above it, a shell's and srun's codes are those of signals

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)

# Python's launchers print a traceback over an INT, and the trainer, which torchrun hands them on to, dies of a HUP
_PASSED_ON = {signal.SIGINT: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """That of the trainer, or else of the command itself: 128 and the signal's number, if it died of a signal."""
    asked: bool
    """Whether a signal to us asked for the end, and it came by itself."""


def run(command: tuple[str, ...], grace_s: int) -> Ended:
    """Run a command to its end, in a process group of its own: a terminal's Ctrl-C reaches it once, through here.

    The first signal of a kind is passed on; what still runs `grace_s` seconds after the first is killed, and at once at
    the third Ctrl-C.

    A command that was asked to stop before a trainer had begun is to be started again. Signals do afterwards what they
    did before.
    """
    with tempfile.TemporaryDirectory(prefix="provenet-") as folder:
        codes = Path(folder) / "exit-code"
        codes.touch()
        running = _Command(command, grace_s, codes)
        before = {number: signal.getsignal(number) for number in _STOPS}
        try:
            running.start()
            code = running.wait()
            return Ended(_meant(code, codes.read_text().strip(), asked=running.asked), running.asked)
        except OSError as error:
            return Ended(refuse([f"COMMAND: {command[0]}: {error.strerror}"]), asked=False)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def environment(grace_s: int, gpu: bool, given: Mapping[str, str]) -> dict[str, str]:
    """The variables given, and those with which a launcher leaves time to save, and a CPU is used well."""
    ours = {
        "PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2",  # torchrun's --signals-to-handle
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(grace_s),  # its --shutdown-timeout, which PyTorch 2.11 does not have
        GRACE_VARIABLE: str(grace_s),
        **SLEEPING,
    }
    on_cpu = {**ALLOCATOR, "ACCELERATE_USE_CPU": "true"}
    return {**ours, **({} if gpu else on_cpu), **given}


class _Command:
    """A command, and the processes it has started."""

    def __init__(self, words: tuple[str, ...], grace_s: int, codes: Path) -> None:
        self._words, self._grace_s, self._codes = words, grace_s, codes
        self._arrived: list[int] = []
        self._sent: set[int] = set()
        self._interrupts = 0
        self._deadline: float | None = None
        self._killed = False
        self._asked = False

    def start(self) -> None:
        """Listen for signals, then begin."""
        for number in _STOPS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup's wish
                signal.signal(number, self._note)
        variables = environment(self._grace_s, has_gpu(), os.environ) | {EXIT_CODE_VARIABLE: str(self._codes)}
        # outside the terminal's foreground, a process that reads from it would be stopped; srun reads
        self._process = subprocess.Popen(self._words, env=variables, stdin=subprocess.DEVNULL, process_group=0)

    def wait(self) -> int:
        """Wait for the command, and after a failure for all it has left behind; gives the command's code."""
        while (code := self._process.poll()) is None:
            self._tend()
        while code != 0 and any(self._members()):  # accelerate's launcher of one process dies before that has saved
            if self._deadline is None:
                remark("the command failed and left processes behind; they are asked to stop")
                self._stop(signal.SIGTERM)
            self._tend()
        return code

    @property
    def asked(self) -> bool:
        """Whether a signal asked for the end, and it came by itself."""
        return self._asked and not self._killed

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._arrived.append(number)

    def _tend(self) -> None:
        while self._arrived:
            self._pass_on(signal.Signals(self._arrived.pop(0)))
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._kill()
        time.sleep(_LOOK_S)

    def _pass_on(self, number: signal.Signals) -> None:
        self._asked = True
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= INTERRUPTS:
            self._deadline = time.monotonic()
            return
        if self._deadline is None:
            remark(f"{number.name}: {self._grace_s} s to save and end; {INTERRUPTS} times Ctrl-C ends all at once")
        srun = Path(self._words[0]).name == "srun"
        self._stop(signal.SIGUSR2 if srun else _PASSED_ON.get(number, number))

    def _stop(self, number: signal.Signals) -> None:
        """Send a signal, once: torchrun leaves its processes behind at the third."""
        self._deadline = self._deadline or time.monotonic() + self._grace_s
        if number not in self._sent:
            self._sent.add(number)
            self._send(number)

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:  # torchrun hands it on to its processes, which are no part of the group
            os.killpg(self._process.pid, number)
            return
        for process in self._members():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _kill(self) -> None:
        if not self._killed:
            remark("still running: killed")
        self._killed = True
        for process in (*self._members(), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _members(self) -> Iterator[int]:
        """Every process that the command started, at any depth, in whatever group or session."""
        mark = f"{EXIT_CODE_VARIABLE}={self._codes}".encode()
        for place in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # another user's, or gone meanwhile
                if mark in place.read_bytes().split(b"\0"):
                    yield int(place.parent.name)


def _meant(code: int, recorded: str, *, asked: bool) -> int:
    """The exit code of a command that ended with `code`, and whose trainer wrote down `recorded` at its end, if any."""
    if code == 0:
        return 0
    # before a trainer listened, with no time to save, or while its launcher ended; what is saved or finished stands
    if asked and recorded in ("", BEGUN, "0"):
        return START_AGAIN
    if recorded == BEGUN and 0 < code < _SIGNALLED:  # a process was ended from outside: torchrun says no more than 1
        return ABORTED
    known = {str(meant): meant for meant in (START_AGAIN, ABORTED, FAILED, BAD_INPUT, INTERRUPTED)}
    return known.get(recorded, code if code > 0 else 128 - code)

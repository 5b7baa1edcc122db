"""Run a launcher so that its processes get time to save at a stop, and their exit code is returned.

`torchrun` and `accelerate launch` kill their processes 30 s after a signal, die of USR2, and replace every exit code
but 0 by 1; `srun` kills at once at TERM. All processes started here have the name of one file in their environment:
the trainer writes its exit code there, and processes that outlive the launcher are recognised by it.
"""

import ctypes
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
from trainer.exits import ABORTED, BAD_INPUT, BEGUN, EXIT_CODE_VARIABLE, FAILED, INTERRUPTED, KILLED, refuse
from trainer.stopping import INTERRUPTS, START_AGAIN
from trainer.terminal import remark

_LIBC = ctypes.CDLL(None)
_PARENT_DIES = 1  # PR_SET_PDEATHSIG

_LOOK_S = 0.1
_SRUN_S = 10.0  # in which srun kills its tasks
_SIGNALLED = 128  # above it, a shell's and srun's codes are those of signals

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)

# Python's launchers print a traceback at INT; torchrun passes a HUP on to the trainer, which dies of it
_PASSED_ON = {signal.SIGINT: signal.SIGTERM, signal.SIGHUP: signal.SIGTERM}


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a command."""

    code: int
    """Exit code of the trainer, or else of the command: 128 plus the signal's number if it died of a signal."""
    asked: bool
    """Whether it ended by itself after a signal to this process."""
    why: str = ""
    """The first line of the trainer's last words, or `KILLED`; empty where it had none."""


def run(command: tuple[str, ...], grace_s: int) -> Ended:
    """Run a command to its end, in its own process group, so that a terminal's Ctrl-C reaches it only from here.

    The first signal of each kind is passed on. Processes that still run `grace_s` seconds after the first signal are
    killed, and at once at the third Ctrl-C. A command that is stopped before a trainer has begun ends with
    `START_AGAIN`. Signal handlers are restored at the end.
    """
    with tempfile.TemporaryDirectory(prefix="provenet-") as folder:
        codes = Path(folder) / "exit-code"
        codes.touch()
        running = _Command(command, grace_s, codes)
        before = {number: signal.getsignal(number) for number in _STOPS}
        try:
            running.start()
            code = running.wait()
            recorded, _, why = _text(codes).strip().partition("\n")
            code = _meant(code, recorded, asked=running.asked, srun=running.is_srun)
            was_killed = code == START_AGAIN and recorded == BEGUN
            return Ended(code, running.asked, KILLED if was_killed else why.partition("\n")[0])
        except OSError as error:
            return Ended(refuse([f"COMMAND: {command[0]}: {error.strerror}"]), asked=False)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Let this process get a signal when its parent dies, however that happens."""
    _LIBC.prctl(_PARENT_DIES, number)


def environment(grace_s: int, gpu: bool, variables: Mapping[str, str]) -> dict[str, str]:
    """`variables`, with others by which a launcher leaves time to save and a CPU computes fast, unless they are set."""
    ours = {
        "PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR2",  # torchrun's --signals-to-handle
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(grace_s),  # its --shutdown-timeout, which PyTorch 2.11 does not have
        GRACE_VARIABLE: str(grace_s),
        **SLEEPING,
    }
    on_cpu = {**ALLOCATOR, "ACCELERATE_USE_CPU": "true"}
    return {**ours, **({} if gpu else on_cpu), **variables}


class _Command:
    """A command and the processes that it has started."""

    def __init__(self, words: tuple[str, ...], grace_s: int, codes: Path) -> None:
        self._words, self._grace_s, self._codes = words, grace_s, codes
        self._arrived: list[int] = []
        self._sent: set[int] = set()
        self._interrupts = 0
        self._deadline: float | None = None
        self._killed = False
        self._asked = False

    def start(self) -> None:
        """Install signal handlers, then start the command."""
        for number in _STOPS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, self._note)
        variables = environment(self._grace_s, has_gpu(), os.environ) | {EXIT_CODE_VARIABLE: str(self._codes)}
        # srun reads stdin, and a process that reads from a terminal in the background is stopped
        self._process = subprocess.Popen(
            self._words,
            env=variables,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: end_with_parent(self._translated(signal.SIGTERM)),
        )

    def wait(self) -> int:
        """Wait for the command, and after a failure for all its processes; returns the command's exit code."""
        while (code := self._process.poll()) is None:
            self._tend()
        # accelerate's launcher dies before its single process has saved, and so do srun and podman at Slurm's TERM
        while (code != 0 or _text(self._codes) == BEGUN) and any(self._members()):
            if self._deadline is None:
                remark("the command failed, and some of its processes still run: stopping them")
                self._stop(signal.SIGTERM)
            self._tend()
        return code

    @property
    def asked(self) -> bool:
        """Whether it ended by itself after a signal to this process."""
        return bool(self._asked or self._arrived) and not self._killed

    @property
    def is_srun(self) -> bool:
        return Path(self._words[0]).name == "srun"

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
            remark(f"{number.name}: {self._grace_s} s to save and end; {INTERRUPTS} times Ctrl-C kills at once")
        self._stop(self._translated(number))

    def _translated(self, number: signal.Signals) -> signal.Signals:
        return signal.SIGUSR2 if self.is_srun else _PASSED_ON.get(number, number)

    def _stop(self, number: signal.Signals) -> None:
        """Send a signal once: at the third, torchrun ends without its processes."""
        self._deadline = self._deadline or time.monotonic() + self._grace_s
        if number not in self._sent:
            self._sent.add(number)
            self._send(number)

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:  # torchrun passes it on to its processes, which are in other groups
            os.killpg(self._process.pid, number)
            return
        for process in self._members():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _kill(self) -> None:
        number = signal.SIGKILL
        if not self._killed:
            remark("still running: killed")
            if self.is_srun:  # which kills its tasks at TERM, and killed itself would leave them and their nodes
                number, self._deadline = signal.SIGTERM, time.monotonic() + _SRUN_S
        self._killed = True
        for process in (*self._members(), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _members(self) -> Iterator[int]:
        """All processes that the command started, directly or not, of any process group and session."""
        mark = f"{EXIT_CODE_VARIABLE}={self._codes}".encode()
        for file in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # of another user, or ended meanwhile
                if mark in file.read_bytes().split(b"\0"):
                    yield int(file.parent.name)


def _text(codes: Path) -> str:
    """What the trainer wrote; nothing where /tmp is cleaned of what is old, as of a run of weeks."""
    with suppress(OSError):
        return codes.read_text(errors="replace")
    return ""


def _meant(code: int, recorded: str, *, asked: bool, srun: bool) -> int:
    """The exit code for a command that ended with `code`, whose trainer wrote `recorded`, or nothing, at its end."""
    if code == 0 and (recorded == "0" or not srun):  # where Slurm has ended its tasks, srun returns 0 too
        return 0
    # before a trainer had its handlers, with no time to save, or while its launcher ended; the same command goes on
    if asked and recorded in ("", BEGUN, "0"):
        return START_AGAIN
    if recorded == BEGUN and code in range(_SIGNALLED):  # a process was killed: torchrun replaces its code by 1
        return ABORTED
    known = {str(meant): meant for meant in (START_AGAIN, ABORTED, FAILED, BAD_INPUT, INTERRUPTED)}
    return known.get(recorded, code if code >= 0 else 128 - code)

"""A contender's process as the bench sees it: started, given turns, and weighed from outside."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import IO

from data.bench.config import BenchTask
from data.bench.talk import ask, hear

PROC = Path("/proc")
PACKAGES = Path(__file__).parents[2]
POLL_S = 0.02
REST_S = 0.1  # without a tick of CPU time: then its queues are full
SETTLE_S = 5.0  # the longest wait for that
EXIT_S = 10.0


class NotInstalledError(Exception):
    """The contender's package is missing; the message names it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a contender did in one turn."""

    images: int
    """Consumed, and as many produced: its queues were full before and after."""
    wall_s: float
    """Until its queues were full again."""
    cpu_s: float
    """User and system time of the process and its workers."""


class Contestant:
    """One contender in a process of its own, with its queues full between turns."""

    def __init__(self, task: BenchTask) -> None:
        """Start it and wait for its first batch.

        Raises:
            NotInstalledError: Its package is missing.
            FailedError: It gave no batch.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the rest
        start = time.monotonic()
        self._process = _spawn(task, self._errors)
        try:
            facts = hear(self._process, self._errors)
            if missing := facts.get("missing"):
                raise NotInstalledError(missing)
            self.first_batch_s = float(facts["ready"]) - start
            self.facts = {name: facts[name] for name in ("shape", "dtype", "note")}
            self._settled()
        except BaseException:
            self.close()
            raise

    def turn(self, seconds: float) -> Turn:
        """Let it consume batches for so long.

        Raises:
            FailedError: It ended.
        """
        before, start = self._cpu_s(self._family()), time.monotonic()
        images = int(ask(self._process, f"{seconds}\n", self._errors)["images"])
        end, used = self._settled()
        return Turn(images, end - start, used - before)

    def close(self) -> None:
        """End it and all its workers."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _settled(self) -> tuple[float, float]:
        """Wait until it rests; give that moment and its CPU seconds so far."""
        family = self._family()
        latest = time.monotonic() + SETTLE_S
        since, used = time.monotonic(), self._cpu_s(family)
        while since + REST_S > time.monotonic() and time.monotonic() < latest:
            time.sleep(POLL_S)
            if (now := self._cpu_s(family)) > used:
                since, used = time.monotonic(), now
        return since, used

    def _family(self) -> list[Path]:
        """The process and its workers: they share its session."""
        return [stat for stat in PROC.glob("[0-9]*/stat") if _fields(stat)[3:4] == [str(self._process.pid)]]

    def _cpu_s(self, family: list[Path]) -> float:
        """User and system time of these, and of those of their children that ended."""
        ticks = sum(int(field) for stat in family for field in _fields(stat)[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")


def _fields(stat: Path) -> list[str]:
    """What stands behind the name of the program, which may hold anything; nothing of a process that has just ended."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _spawn(task: BenchTask, errors: IO[bytes]) -> "subprocess.Popen[str]":
    path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "data.bench.worker", task.encode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C reaches us alone, and its workers are known by their session
    )

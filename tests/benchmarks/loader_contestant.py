"""A loader that is given turns, and weighed from outside: its images, and the CPU time of all its processes."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contestant import Contestant, environment
from tests.benchmarks.loaders_config import BenchTask

PROC = Path("/proc")
POLL_S = 0.02
REST_S = 0.1  # without a tick of CPU time: then its queues are full
SETTLE_S = 5.0  # the longest wait for that


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


class LoaderContestant:
    """One loader, with its queues full between turns."""

    def __init__(self, task: BenchTask) -> None:
        """Start it and wait for its first batch.

        Raises:
            NotInstalledError: Its package is missing.
            FailedError: It gave no batch.
        """
        start = time.monotonic()
        self._worker = Contestant("loader_worker", task.encode(), environment())
        self.close = self._worker.close
        facts = self._worker.ready
        if missing := facts.get("missing"):
            self.close()
            raise NotInstalledError(missing)
        self.first_batch_s = float(facts["ready"]) - start
        self.facts = {name: facts[name] for name in ("shape", "dtype", "note")}

    def turn(self, seconds: float) -> Turn:
        """Let it consume batches for so long.

        Raises:
            FailedError: It ended.
        """
        self._settled()
        before, start = self._cpu_s(self._family()), time.monotonic()
        images = int(self._worker.ask(f"{seconds}")["images"])
        end, used = self._settled()
        return Turn(images, end - start, used - before)

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
        return [stat for stat in PROC.glob("[0-9]*/stat") if _fields(stat)[3:4] == [str(self._worker.process.pid)]]

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

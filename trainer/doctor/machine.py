"""What CPUs and disk there are for this process. Standard library only."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

from trainer import binding
from trainer.doctor import cgroup
from trainer.doctor.disk import at, parse_mounts

_IDLE = (3, 4)  # columns of /proc/stat behind a CPU's name: idle, and idle with a disk at work
_LEAST = 0.25  # cores: of less no prediction follows


@dataclass(frozen=True, slots=True)
class Reading:
    """Clocks at one moment."""

    wall_s: float
    cpu_s: float
    """Of all threads of this process."""
    idle_s: float | None
    """Of all CPUs that this process may run on; None: this system does not say."""


def read(stat: Path = Path("/proc/stat")) -> Reading:
    """The clocks now."""
    return Reading(perf_counter(), process_time(), idle_s(_text(stat), binding.allowed()))


def idle_s(stat: str, cpus: frozenset[int]) -> float | None:
    """Seconds that these CPUs had nothing to do since the machine's start, from the text of /proc/stat."""
    rows = (line.split() for line in stat.splitlines())
    ticks = [
        int(row[1 + column])
        for row in rows
        if row and row[0].startswith("cpu") and row[0][3:].isdigit() and int(row[0][3:]) in cpus
        for column in _IDLE
        if len(row) > 1 + column
    ]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


def left_cores(begin: Reading, end: Reading, own: float, processes: int) -> float:
    """Cores that others left to this process between two readings: what it used, and its share of what stood idle.

    Args:
        begin: The earlier reading.
        end: The later.
        own: Cores that are this process's.
        processes: Processes of the run on this machine.
    """
    wall = end.wall_s - begin.wall_s
    if begin.idle_s is None or end.idle_s is None or wall <= 0:
        return own
    used = end.cpu_s - begin.cpu_s + (end.idle_s - begin.idle_s) / processes
    return max(_LEAST, min(own, used / wall))


def quota(own: int, processes: int, membership: Path = Path("/proc/self/cgroup")) -> float:
    """Cores that are this process's, or its share of what its control groups are given, where that is less."""
    given = cgroup.quota_cores(_text(membership))
    return own if given is None else max(_LEAST, min(own, given / processes))


def disk_name(folder: Path) -> str:
    """The disk that a folder lies on, for people."""
    mount = at(folder, parse_mounts(_text(Path("/proc/self/mountinfo"))))
    return f"{folder} ({mount.kind})" if mount else str(folder)


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""

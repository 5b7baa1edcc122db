"""What this machine lets a run use, and which of its settings harm one. Loads no torch, and changes nothing."""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from data.workers import cores
from trainer.doctor import disk, gpu, versions
from trainer.doctor.finding import Finding

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_SHARED = Path("/dev/shm")


def findings(data: Path | None, output: Path | None) -> list[Finding]:
    """Every check that is made before this program uses the machine; of folders, those that are given."""
    gpus = gpu.look()
    return [
        *versions.findings(on_gpu=bool(gpus)),
        *gpu.findings(gpus),
        cpu_finding(cores(), os.cpu_count() or 1, quota_cores(group_files("cpu.max"))),
        *([shared_memory_finding(psutil.disk_usage(str(_SHARED)).total)] if _SHARED.exists() else []),
        *disk.findings(data, output),
    ]


def cpu_finding(allowed: int, present: int, quota: float | None) -> Finding:
    """CPUs that this process may run on, against the machine's and against its container's quota."""
    if quota is not None and quota < 0.99 * allowed:
        fix = f"raise the container's --cpus, or give --threads {max(1, int(quota))}"
        return Finding("CPUs", "bad", f"may run on {allowed}, but its cgroup limits it to the time of {quota:g}", fix)
    if allowed < present:
        fix = "if these are too few: --cpus-per-task in Slurm, --cpuset-cpus in docker, no taskset"
        return Finding("CPUs", "note", f"{allowed} of the machine's {present} may be used", fix)
    return Finding("CPUs", "good", f"all {present} may be used")


def shared_memory_finding(total: int) -> Finding:
    """Bytes of /dev/shm, through which processes of a machine exchange data; docker gives 64 MB."""
    fix = "start the container with --ipc=host or --shm-size=8g" if total < 1 << 30 else ""
    return Finding("/dev/shm", "bad" if fix else "good", f"{total / 1e6:,.0f} MB, for all processes", fix)


def quota_cores(limits: Sequence[str]) -> float | None:
    """The smallest CPU quota in files cpu.max, in CPUs; None: no limit."""
    quotas = (line.split() for line in limits if line and not line.startswith("max"))
    return min((int(quota) / int(period) for quota, period in quotas), default=None)


def group_files(name: str, membership: str | None = None, groups: Path = _GROUPS) -> list[str]:
    """A file of this process's control groups (version 2); `membership` is the text of /proc/self/cgroup."""
    lines = (membership or (_MEMBERSHIP.read_text() if _MEMBERSHIP.exists() else "")).splitlines()
    folder = groups / next((line[4:] for line in lines if line.startswith("0::/")), "")
    files = (above / name for above in (folder, *folder.parents) if above.is_relative_to(groups))
    return [file.read_text() for file in files if file.exists()]

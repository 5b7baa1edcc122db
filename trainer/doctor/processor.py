"""What a process may take of the machine's CPUs and memory. Standard library only."""

import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.workers import cores
from trainer.doctor import cgroup
from trainer.doctor.finding import Finding, bad, good, note, size

SHARED_MEMORY_BYTES = 1 << 30  # torch's, DALI's and NCCL's exchange between the processes of a machine

_FILES = 4096
_LEAST_BYTES = 2 << 30  # a process with torch, a small network and its images
_SYSTEM = Path("/sys/devices/system/cpu")
# drivers whose powersave goes up with the load, so that it means nothing
_ADAPTIVE = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")


def findings() -> list[Finding]:
    """All that bounds processes here, GPUs aside."""
    membership = _text(Path("/proc/self/cgroup"))
    memory, swapped = available(_text(Path("/proc/meminfo")))
    limit = cgroup.memory_left(membership)
    return [
        *cpu_findings(cores(), os.cpu_count() or 1, cgroup.quota_cores(membership)),
        *thread_findings(os.environ, cores()),
        *governor_findings(_SYSTEM),
        *heat_findings(_SYSTEM),
        *memory_findings(memory if limit is None else min(memory, limit), swapped),
        *page_findings(_text(Path("/sys/kernel/mm/transparent_hugepage/enabled"))),
        *shared_memory_findings(_bytes_of(Path("/dev/shm"))),
        *file_findings(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]


def cpu_findings(allowed: int, there: int, quota: float | None) -> Iterator[Finding]:
    """CPUs that this process may run on, against the machine's and against what a container's quota pays for."""
    if quota is not None and quota < 0.99 * allowed:
        says = f"may run on {allowed} CPUs, but its cgroup pays for {quota:g}: threads beyond that are put to sleep"
        yield bad("CPUs", says, f"raise the container's --cpus, or give --threads {max(1, int(quota))}")
    elif allowed < there:
        mend = "if these are too few: --cpus-per-task in Slurm, --cpuset-cpus in docker, no taskset"
        yield note("CPUs", f"{allowed} of the machine's {there} may be used", mend)
    else:
        yield good("CPUs", f"all {there} may be used")


def thread_findings(environment: Mapping[str, str], allowed: int) -> Iterator[Finding]:
    """Variables that bind OpenMP's threads; OMP_NUM_THREADS is set anew by each run (--threads)."""
    bound = [
        name for name in ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY") if environment.get(name)
    ]
    if bound and environment.get("OMP_PROC_BIND", "").lower() != "false":
        values = " and ".join(f"{name}={environment[name]}" for name in bound)
        says = f"{values}: each process binds its threads to the same cores"
        yield note("threads", says, f"unset {' '.join(bound)}, unless one process trains alone")
    asked = environment.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > allowed:
        says = (
            f"OMP_NUM_THREADS={asked}, and {allowed} CPUs may be used; runs set it themselves, other programs obey it"
        )
        yield note("threads", says, "unset OMP_NUM_THREADS; --threads sets a run's")


def governor_findings(system: Path) -> Iterator[Finding]:
    """Whether the kernel keeps CPUs slow."""
    folders = sorted(system.glob("cpu[0-9]*/cpufreq"))
    slow = [
        folder
        for folder in folders
        if _text(folder / "scaling_governor").strip() == "powersave"
        and _text(folder / "scaling_driver").strip() not in _ADAPTIVE
    ]
    if slow:
        mend = "sudo cpupower frequency-set --governor performance"
        yield bad(
            "CPU clock", f"{len(slow)} of {len(folders)} CPUs stay at their lowest clock (governor powersave)", mend
        )


def heat_findings(system: Path) -> Iterator[Finding]:
    """Whether heat has slowed CPUs since the machine started."""
    counts = [_text(file).strip() for file in system.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    times = max((int(count) for count in counts if count.isdigit()), default=0)
    if times:
        mend = "look at the cooling; the count is in /sys/devices/system/cpu/cpu*/thermal_throttle"
        yield note("CPU heat", f"a core was slowed for heat {times:,} times since the machine started", mend)


def available(meminfo: str) -> tuple[int, int]:
    """Bytes of memory that programs can still have, and bytes that are swapped out, from /proc/meminfo; -1: unknown."""
    rows = (line.replace(":", " ").split() for line in meminfo.splitlines())
    kib = {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    return kib.get("MemAvailable", -1) * 1024, (kib.get("SwapTotal", 0) - kib.get("SwapFree", 0)) * 1024


def memory_findings(free: int, swapped: int) -> Iterator[Finding]:
    """Memory that is left, and whether the machine swaps."""
    if 0 <= free < _LEAST_BYTES:
        yield bad("memory", f"{size(free)} are left", "end other programs; a run takes 2 GB for each process and more")
    elif free >= 0:
        yield good("memory", f"{size(free)} are left")
    if swapped > 1 << 30:
        yield note(
            "swap", f"{size(swapped)} are swapped out", "end other programs, or watch vmstat 1: si and so stay 0"
        )


def page_findings(enabled: str) -> Iterator[Finding]:
    """Whether the kernel gives large pages, which a run on CPUs asks glibc for (trainer/cpu.py)."""
    if "[never]" in enabled:
        mend = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
        yield note("large pages", "the kernel gives none: training on CPUs is slower", mend)


def shared_memory_findings(total: int | None) -> Iterator[Finding]:
    """The size of /dev/shm; None where there is none."""
    if total is None:
        return
    mend = "start the container with --ipc=host or --shm-size=8g"
    if total <= 64 << 20:
        yield bad("/dev/shm", f"{size(total)}, docker's default: processes that exchange images or gradients die", mend)
    elif total < SHARED_MEMORY_BYTES:
        yield note("/dev/shm", f"{size(total)}, little for several processes", mend)
    else:
        yield good("/dev/shm", size(total))


def file_findings(limit: int) -> Iterator[Finding]:
    """How many files a process may have open; RLIM_INFINITY is below 0."""
    if 0 <= limit < _FILES:
        yield note("open files", f"at most {limit:,} in a process", "ulimit -n 65536")
    else:
        yield good("open files", f"at most {limit:,} in a process" if limit >= 0 else "no limit")


def _bytes_of(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_frsize * found.f_blocks


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

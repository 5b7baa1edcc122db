"""Checks of the machine: CPUs, memory, disks, GPUs and their driver. Loads no torch, and changes nothing."""

import os
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from packaging.version import Version

from data.workers import cores
from trainer.cpus import has_gpu
from trainer.gpu_faults import query

NETWORK = re.compile(
    r"nfs4?|cifs|smb3|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|pvfs2|orangefs|panfs|wekafs"
    r"|fuse\.(glusterfs|sshfs|s3fs|gcsfuse|mountpoint-s3|juicefs|ceph|beegfs|rclone|blobfuse2?)"
)

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_SHARED = Path("/dev/shm")
_CPUINFO = Path("/proc/cpuinfo")
_BF16 = frozenset(("avx512_bf16", "amx_bf16", "bf16"))  # the last is ARM's

# NVML API reference, nvmlClocksEventReasons, in groups
_SLOWED = {
    0x68: ("heat", "check its cooling; nvidia-smi -q -d TEMPERATURE shows the limits"),
    0x80: ("its power supply", "check the machine's power supply and its cables"),
    0x02: ("clocks that somebody set", "sudo nvidia-smi -rac -rgc resets them"),
}
_FIELDS = ("index", "name", "driver_version", "memory.total", "memory.used", "compute_cap", "slowed")
_BUSY_MIB = 1024  # the driver itself uses some hundred
_TIMEOUT_S = 20  # nvidia-smi hangs where a GPU has fallen off its bus
_CUDA_12 = "rebuild the environment with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cu126 make train CUDA=12"

Gpu = Mapping[str, str]
Mount = tuple[str, str, str]  # where, file system, options


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    state: Literal["good", "note", "bad"]
    """good: nothing to do. note: worth knowing, or could not be checked. bad: costs time or ends the run."""
    message: str
    fix: str = ""
    """What to do; empty where good."""


def findings(data: Path | None, output: Path | None) -> Iterator[Finding]:
    """CPUs, shared memory, and the file systems of those folders that are not None."""
    yield cpu_finding(cores(), os.cpu_count() or 1, quota_cores(group_files("cpu.max")))
    if not has_gpu() and (finding := bf16_finding(_CPUINFO)):
        yield finding
    if _SHARED.exists():
        yield shared_memory_finding(psutil.disk_usage(str(_SHARED)).total)
    mounts = [(one.mountpoint, one.fstype, one.opts) for one in psutil.disk_partitions(all=True)]
    if data and (mount := at(data, mounts)):
        yield data_finding(data, mount[1])
    if output and (mount := at(output, mounts)):
        yield output_finding(output, mount, os.environ)


def bf16_finding(cpuinfo: Path) -> Finding | None:
    """Whether the CPUs lack instructions for bf16; None where they have them or the kernel does not say."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)", text, re.MULTILINE)
    if flags is None or _BF16 & {*flags[1].split()}:
        return None
    return Finding(
        "bf16", "note", "these CPUs emulate it, several times slower than fp32", "train with --precision fp32"
    )


def cpu_finding(allowed: int, present: int, quota: float | None) -> Finding:
    """Compare the CPUs that this process may use with the machine's, and with its container's quota."""
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


def at(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that a path lies in, links followed; it need not exist yet. A later mount hides an earlier one."""
    within = [mount for mount in mounts if path.resolve().is_relative_to(mount[0])]
    return max(reversed(within), key=lambda mount: len(Path(mount[0]).parts), default=None)


def data_finding(data: Path, kind: str) -> Finding:
    """Whether images are read fast from that kind of file system."""
    if NETWORK.fullmatch(kind) and not any(data.glob("train/*.tar")):
        fix = (
            f"provenet pack {shlex.quote(str(data))} OUT writes them to a few large files; or copy them to a local disk"
        )
        return Finding("data", "note", f"{data} lies on {kind}, where many small files are read slowly", fix)
    return Finding("data", "good", f"{data} lies on {kind}")


def output_finding(output: Path, mount: Mount, environment: Mapping[str, str]) -> Finding:
    """Whether what a run writes is kept, and whether all of its machines see it."""
    _, kind, options = mount
    where, nodes = f"{output} lies on {kind}", environment.get("SLURM_JOB_NUM_NODES", "1")
    if "ro" in options.split(","):
        return Finding("output", "bad", f"{where}, which is mounted read-only", "name another --output")
    if kind in ("tmpfs", "ramfs"):
        return Finding("output", "bad", f"{where}: lost when the machine restarts", "name an --output on a disk")
    if not NETWORK.fullmatch(kind) and nodes.isdigit() and int(nodes) > 1:
        message = f"{where}, a disk of this machine, and the job has {nodes} nodes"
        return Finding("output", "bad", message, "name an --output that all nodes see, as each may have to resume")
    if kind in ("overlay", "aufs", "fuse.fuse-overlayfs"):
        fix = "name an --output on a volume: docker run --volume HOST:CONTAINER"
        return Finding("output", "note", f"{where}: lost with the container", fix)
    return Finding("output", "good", where)


def free_finding(output: Path, need: int) -> Finding:
    """Bytes free where the run directory is, or will be, against those that a run writes."""
    existing = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    free = psutil.disk_usage(str(existing)).free
    fix = "" if free >= need else "delete files, name another --output, or lower --keep-checkpoints or --checkpoints-gb"
    message = f"{free / 1e6:,.0f} MB are free, {need / 1e6:,.0f} MB are needed"
    return Finding("disk", "bad" if fix else "good", message, fix)


def look_at_gpus() -> list[Gpu] | None:
    """`_FIELDS` of the GPUs that nvidia-smi shows; None without it, or where it does not answer."""
    rows = query((*_FIELDS[:-1], "REASONS.active"))
    if rows is None:
        return None
    return [dict(zip(_FIELDS, row, strict=True)) for row in rows if len(row) == len(_FIELDS)]


def gpu_findings(gpus: Sequence[Gpu] | None, cuda: str | None) -> Iterator[Finding]:
    """The GPUs that `look_at_gpus` gave, before this program uses them; `cuda` is the version torch is built for."""
    if not gpus:
        fix = "nvidia-smi -L has to show a GPU; a container needs --gpus all, a Slurm job --gpus-per-node"
        message = "NVIDIA's driver " + ("is not there" if gpus is None else "shows no GPU")
        yield Finding("GPU", "note", f"{message}: trains on CPUs", fix)
        return
    kinds = Counter(f"{gpu['name']}, {_number(gpu, 'memory.total') / 1024:.0f} GiB" for gpu in gpus)
    counted = "; ".join(f"{count} x {kind}" for kind, count in kinds.items())
    message = f"{counted}; driver {gpus[0]['driver_version']}"
    fix = "each step waits for the slowest: choose those that are alike by CUDA_VISIBLE_DEVICES"
    yield Finding("GPU", "bad", message, fix) if len(kinds) > 1 else Finding("GPU", "good", message)
    driver = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+\.\d+)", _smi())
    least = min(_number(gpu, "compute_cap") for gpu in gpus)
    yield cuda_finding(cuda, driver[1] if driver else "", least)
    # a container sees no other programs, but their memory
    if busy := [f"GPU {gpu['index']}" for gpu in gpus if _number(gpu, "memory.used") > _BUSY_MIB]:
        fix = "nvidia-smi shows them: wait, stop them, or choose other GPUs by CUDA_VISIBLE_DEVICES"
        yield Finding("GPU use", "bad", f"other programs use memory of {', '.join(busy)}", fix)


def clock_findings(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """What reduces the clocks of the GPUs that `look_at_gpus` gave; under load or soon after it."""
    for gpu in gpus:
        bits = int(gpu["slowed"], 16) if gpu["slowed"].startswith("0x") else 0
        for mask, (reason, fix) in _SLOWED.items():
            if bits & mask:
                yield Finding("GPU clock", "bad", f"that of GPU {gpu['index']} is reduced by {reason}", fix)


def cuda_finding(cuda: str | None, driver_cuda: str, least_capability: float) -> Finding:
    """Compare torch's CUDA version with the driver's, such as 12.4, and with the oldest GPU's compute capability.

    Reference: NVIDIA, CUDA Compatibility: a driver runs all minor versions of its major one.
    """
    major = Version(cuda or "0").major
    message = f"torch is built for CUDA {cuda}, the driver supports up to {driver_cuda or 'an unknown version'}"
    if cuda is None:
        message = "this torch is built for CPUs alone, and there are GPUs"
        return Finding("CUDA", "bad", message, "install the build for the driver: https://pytorch.org/get-started")
    if driver_cuda and Version(driver_cuda).major < major:
        fix = f"update the driver to {580 if major >= 13 else 525} or newer, or {_CUDA_12}"
        return Finding("CUDA", "bad", message, fix)
    if major >= 13 and 0 < least_capability < 7.5:
        return Finding("CUDA", "bad", f"{message}, and a GPU has compute capability {least_capability}", _CUDA_12)
    return Finding("CUDA", "good", message)


def _number(gpu: Gpu, field: str) -> float:
    """A field that the GPU does not have reads [N/A] or [Not Supported]."""
    return float(gpu[field]) if gpu[field][:1].isdigit() else 0.0


def _smi() -> str:
    """What nvidia-smi prints by itself; nothing where it is missing, fails or hangs."""
    try:
        return subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return ""

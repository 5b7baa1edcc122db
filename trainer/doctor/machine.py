"""What this machine lets a run use, and which of its settings harm one. Loads no torch, and changes nothing."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from data.workers import cores

NETWORK = re.compile(
    r"nfs4?|cifs|smb3|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|pvfs2|orangefs|panfs|wekafs"
    r"|fuse\.(glusterfs|sshfs|s3fs|gcsfuse|mountpoint-s3|juicefs|ceph|beegfs|rclone|blobfuse2?)"
)

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_SHARED = Path("/dev/shm")

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
    if _SHARED.exists():
        yield shared_memory_finding(psutil.disk_usage(str(_SHARED)).total)
    mounts = [(one.mountpoint, one.fstype, one.opts) for one in psutil.disk_partitions(all=True)]
    if data and (mount := at(data, mounts)):
        yield data_finding(data, mount[1])
    if output and (mount := at(output, mounts)):
        yield output_finding(output, mount, os.environ)


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


def at(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that a path lies in, links followed; it need not exist yet. A later mount hides an earlier one."""
    within = [mount for mount in mounts if path.resolve().is_relative_to(mount[0])]
    return max(reversed(within), key=lambda mount: len(Path(mount[0]).parts), default=None)


def data_finding(data: Path, kind: str) -> Finding:
    """Whether images are read fast from that kind of file system."""
    if NETWORK.fullmatch(kind) and not any(data.glob("train/*.tar")):
        fix = f"provenet pack {data} OUT writes them to a few large files; or copy them to a local disk"
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

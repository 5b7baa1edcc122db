"""Where data and run directory lie: the kind of their file system, and what is free there. Standard library only."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.doctor.finding import Finding, bad, good, note, size

NETWORK = re.compile(
    r"nfs4?|cifs|smb3|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|pvfs2|orangefs|panfs|wekafs"
    r"|fuse\.(glusterfs|sshfs|s3fs|gcsfuse|mountpoint-s3|juicefs|ceph|beegfs|rclone|blobfuse2?)"
)
IN_MEMORY = ("tmpfs", "ramfs")
OF_CONTAINER = ("overlay", "aufs", "fuse.fuse-overlayfs")

_LITTLE_BYTES = 5 * 10**9  # some checkpoints of a ResNet-50 with its optimizer, 200 MB each, and a report
_LITTLE_INODES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    point: str
    """Where it is mounted."""
    kind: str
    """File system, as the kernel names it."""
    source: str
    """Device, or server and path."""
    read_only: bool
    """Whether nobody may write there."""


def findings(data: Path | None, output: Path | None, need_bytes: int | None) -> list[Finding]:
    """The file systems of both, as far as they are given."""
    try:
        mounts = parse_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:  # not Linux
        mounts = []
    found: list[Finding] = []
    if data and (mount := at(data, mounts)):
        found += data_findings(data, mount)
    if output and (mount := at(output, mounts)):
        found += output_findings(output, mount, os.environ)
    if output:
        found += _free_findings(output, need_bytes)
    return found


def parse_mounts(text: str) -> list[Mount]:
    r"""What /proc/self/mountinfo says, in its order; a later mount hides an earlier one at the same place.

    Reference: proc_pid_mountinfo(5): the fields before and behind a lone hyphen; a blank in a name reads \040.
    """
    mounts: list[Mount] = []
    for line in text.splitlines():
        before, _, behind = line.partition(" - ")
        left, right = before.split(), behind.split(" ")
        if len(left) >= 6 and len(right) >= 2:
            read_only = "ro" in left[5].split(",") or (len(right) > 2 and "ro" in right[2].split(","))
            mounts.append(Mount(point=_name(left[4]), kind=right[0], source=_name(right[1]), read_only=read_only))
    return mounts


def at(path: Path, mounts: list[Mount]) -> Mount | None:
    """The mount that a path lies in, links followed; it need not exist yet."""
    place = path.resolve()
    within = [mount for mount in mounts if place.is_relative_to(mount.point)]
    return max(enumerate(within), key=lambda pair: (len(Path(pair[1].point).parts), pair[0]), default=(0, None))[1]


def data_findings(data: Path, mount: Mount) -> Iterator[Finding]:
    """Whether the images lie where they are read fast."""
    where = f"{data} lies on {mount.kind}"
    if NETWORK.fullmatch(mount.kind) and not any(data.glob("train/*.tar")):
        mend = f"provenet pack {data} OUT writes them to a few large files; or copy them to a disk of the machine"
        yield note("data", f"{where} ({mount.source}), where many small files are read slowly", mend)
    elif mount.kind in IN_MEMORY:
        mend = "keep a copy on a disk; see that enough memory is left for the processes"
        yield note("data", f"{where}: in memory, and gone after a restart of the machine", mend)
    else:
        yield good("data", where)


def output_findings(output: Path, mount: Mount, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether what a run writes stays, and is seen by all of its machines."""
    where = f"{output} lies on {mount.kind}"
    nodes = environment.get("SLURM_JOB_NUM_NODES", "1")
    if mount.read_only:
        yield bad("output", f"{where}, which is mounted read-only", "name another --output")
    elif mount.kind in IN_MEMORY:
        yield bad("output", f"{where}: lost when the machine restarts", "name an --output on a disk")
    elif not NETWORK.fullmatch(mount.kind) and nodes.isdigit() and int(nodes) > 1:
        says = f"{where}, a disk of this machine, and the job has {nodes} nodes"
        yield bad("output", says, "name an --output that all nodes see: a restart on another node would find nothing")
    elif mount.kind in OF_CONTAINER:
        mend = "name an --output on a volume: docker run --volume HOST:PLACE"
        yield note("output", f"{where}: lost with the container", mend)
    else:
        yield good("output", where)


def free_findings(free: int, need: int | None, inodes: int | None) -> Iterator[Finding]:
    """Bytes free at the run directory against what is needed; None: unknown, or no limit of files."""
    mend = "make room, name another --output, or lower --keep-checkpoints or --checkpoints-gb"
    if need is not None and free < need:
        yield bad("disk", f"{size(free)} are free, and {size(need)} are needed", mend)
    elif free < _LITTLE_BYTES and need is None:
        yield note("disk", f"{size(free)} are free", mend)
    else:
        yield good("disk", f"{size(free)} are free" + (f", {size(need)} are needed" if need is not None else ""))
    if inodes is not None and inodes < _LITTLE_INODES:
        yield bad("files", f"{inodes:,} more can be made on this file system (inodes)", "delete small files there")


def _free_findings(output: Path, need: int | None) -> Iterator[Finding]:
    try:
        found = os.statvfs(existing(output))
    except OSError as error:
        yield bad("disk", f"{output}: {error.strerror}", "name another --output")
        return
    inodes = found.f_favail if found.f_files else None  # btrfs and many servers count none
    yield from free_findings(found.f_bavail * found.f_frsize, need, inodes)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    place = path.absolute()
    return next((folder for folder in (place, *place.parents) if folder.exists()), Path("/"))


def _name(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

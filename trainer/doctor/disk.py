"""The file systems of data and run directory: their kind and their free space. Loads no torch."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from trainer.doctor.finding import Finding

NETWORK = re.compile(
    r"nfs4?|cifs|smb3|lustre|gpfs|beegfs|ceph|glusterfs|afs|9p|pvfs2|orangefs|panfs|wekafs"
    r"|fuse\.(glusterfs|sshfs|s3fs|gcsfuse|mountpoint-s3|juicefs|ceph|beegfs|rclone|blobfuse2?)"
)

Mount = tuple[str, str, str]  # where, file system, options


def findings(data: Path | None, output: Path | None) -> Iterator[Finding]:
    """The file systems of both, as far as they are given."""
    mounts = [(one.mountpoint, one.fstype, one.opts) for one in psutil.disk_partitions(all=True)]
    if data and (mount := at(data, mounts)):
        yield data_finding(data, mount[1])
    if output and (mount := at(output, mounts)):
        yield output_finding(output, mount, os.environ)


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
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    free = psutil.disk_usage(str(place)).free
    fix = "" if free >= need else "delete files, name another --output, or lower --keep-checkpoints or --checkpoints-gb"
    return Finding(
        "disk", "bad" if fix else "good", f"{free / 1e6:,.0f} MB are free, {need / 1e6:,.0f} MB are needed", fix
    )

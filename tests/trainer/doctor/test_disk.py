from pathlib import Path

import pytest

from trainer.doctor import disk
from trainer.doctor.disk import Mount

# real lines: a laptop's, a docker container's, a cluster node's
MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
25 24 0:23 / /dev/shm rw,nosuid,nodev shared:3 - tmpfs tmpfs rw,size=24684084k
60 27 0:51 / /scratch rw,relatime shared:9 - lustre 10.0.0.1@o2ib:/fs rw,flock
61 27 0:52 / /home rw,relatime - nfs4 server:/export/home rw,vers=4.2
62 61 0:53 / /home/a\040b rw - nfs server:/x rw
63 27 8:3 / /imagenet ro,relatime - xfs /dev/sdb1 rw
64 27 8:4 / /frozen rw,relatime - squashfs /dev/loop0 ro
65 27 8:5 / /scratch rw,relatime - beegfs beegfs_nodev rw
614 540 0:81 / /container rw,relatime master:1 - overlay overlay rw,lowerdir=/a:/b
damaged line
"""


@pytest.mark.parametrize(
    ("path", "kind", "read_only"),
    [
        ("/runs/r50", "ext4", False),
        ("/dev/shm/x", "tmpfs", False),
        ("/scratch/user", "beegfs", False),  # mounted over another
        ("/home/user", "nfs4", False),
        ("/home/a b/runs", "nfs", False),
        ("/homes", "ext4", False),
        ("/imagenet/train", "xfs", True),
        ("/frozen", "squashfs", True),
        ("/container/runs", "overlay", False),
    ],
)
def test_a_path_lies_in_the_deepest_mount(path: str, kind: str, read_only: bool) -> None:
    mount = disk.at(Path(path), disk.parse_mounts(MOUNTS))
    assert mount is not None
    assert (mount.kind, mount.read_only) == (kind, read_only)


def test_no_mounts_are_no_answer() -> None:
    assert disk.at(Path("/x"), disk.parse_mounts("")) is None


def on(kind: str, read_only: bool = False) -> Mount:
    return Mount(point="/", kind=kind, source="server:/x", read_only=read_only)


@pytest.mark.parametrize(
    ("kind", "shards", "state", "mend"),
    [
        ("ext4", False, "good", ""),
        ("nfs4", False, "note", "provenet pack"),
        ("nfs4", True, "good", ""),
        ("lustre", False, "note", "provenet pack"),
        ("fuse.s3fs", False, "note", "provenet pack"),
        ("fuse.fuse-overlayfs", False, "good", ""),
        ("tmpfs", False, "note", "keep a copy"),
    ],
)
def test_many_small_files_on_a_server_are_told(tmp_path: Path, kind: str, shards: bool, state: str, mend: str) -> None:
    (tmp_path / "train").mkdir()
    if shards:
        (tmp_path / "train/000.tar").touch()
    (finding,) = disk.data_findings(tmp_path, on(kind))
    assert finding.state == state
    assert mend in finding.mend
    assert bool(finding.mend) == (state != "good")


@pytest.mark.parametrize(
    ("mount", "nodes", "state"),
    [
        (on("ext4"), "1", "good"),
        (on("ext4"), "2", "bad"),
        (on("nfs4"), "2", "good"),
        (on("tmpfs"), "1", "bad"),
        (on("overlay"), "1", "note"),
        (on("xfs", read_only=True), "1", "bad"),
    ],
)
def test_an_output_that_does_not_last_is_told(mount: Mount, nodes: str, state: str) -> None:
    (finding,) = disk.output_findings(Path("/runs"), mount, {"SLURM_JOB_NUM_NODES": nodes})
    assert finding.state == state
    assert bool(finding.mend) == (state != "good")


GB = 10**9


@pytest.mark.parametrize(
    ("free", "need", "inodes", "states"),
    [
        (100 * GB, 10 * GB, 10**6, ["good"]),
        (5 * GB, 10 * GB, None, ["bad"]),
        (GB, None, None, ["note"]),
        (GB, 10**6, None, ["good"]),
        (100 * GB, None, 12, ["good", "bad"]),
    ],
)
def test_a_full_disk_is_told(free: int, need: int | None, inodes: int | None, states: list[str]) -> None:
    assert [finding.state for finding in disk.free_findings(free, need, inodes)] == states


def test_the_nearest_folder_that_is_there_stands_for_one_to_be(tmp_path: Path) -> None:
    assert disk.existing(tmp_path / "a/b/c") == tmp_path
    assert disk.existing(tmp_path) == tmp_path

from pathlib import Path

import pytest

from trainer.doctor import machine

# a laptop's, a docker container's, a cluster node's, as psutil shows them, in the order in which they were mounted
MOUNTS = [
    ("/proc", "proc", "rw,relatime"),
    ("/", "ext4", "rw,relatime,discard"),
    ("/dev/shm", "tmpfs", "rw,nosuid,nodev"),
    ("/scratch", "lustre", "rw,relatime,flock"),
    ("/home", "nfs4", "rw,relatime,vers=4.2"),
    ("/home/a b", "nfs", "rw"),
    ("/imagenet", "xfs", "ro,relatime"),
    ("/scratch", "beegfs", "rw,relatime"),
    ("/container", "overlay", "rw,relatime"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/runs/r50", "ext4"),
        ("/dev/shm/x", "tmpfs"),
        ("/scratch/user", "beegfs"),  # mounted over another
        ("/home/user", "nfs4"),
        ("/home/a b/runs", "nfs"),
        ("/homes", "ext4"),
        ("/imagenet/train", "xfs"),
        ("/container/runs", "overlay"),
    ],
)
def test_a_path_lies_in_the_deepest_mount(path: str, kind: str) -> None:
    mount = machine.at(Path(path), MOUNTS)
    assert mount is not None
    assert mount[1] == kind


def test_no_mounts_are_no_answer() -> None:
    assert machine.at(Path("/x"), []) is None


@pytest.mark.parametrize(
    ("kind", "shards", "state"),
    [
        ("ext4", False, "good"),
        ("nfs4", False, "note"),
        ("nfs4", True, "good"),
        ("lustre", False, "note"),
        ("fuse.s3fs", False, "note"),
        ("fuse.fuse-overlayfs", False, "good"),
    ],
)
def test_many_small_files_on_a_server_are_told(tmp_path: Path, kind: str, shards: bool, state: str) -> None:
    (tmp_path / "train").mkdir()
    if shards:
        (tmp_path / "train/000.tar").touch()
    finding = machine.data_finding(tmp_path, kind)
    assert finding.state == state
    assert ("provenet pack" in finding.fix) == (state != "good")


@pytest.mark.parametrize(
    ("kind", "options", "nodes", "state"),
    [
        ("ext4", "rw", "1", "good"),
        ("ext4", "rw", "2", "bad"),
        ("nfs4", "rw", "2", "good"),
        ("tmpfs", "rw", "1", "bad"),
        ("overlay", "rw", "1", "note"),
        ("xfs", "ro,relatime", "1", "bad"),
        ("ext4", "rw,errors=remount-ro", "1", "good"),
    ],
)
def test_an_output_that_does_not_last_is_told(kind: str, options: str, nodes: str, state: str) -> None:
    finding = machine.output_finding(Path("/runs"), ("/", kind, options), {"SLURM_JOB_NUM_NODES": nodes})
    assert finding.state == state
    assert bool(finding.fix) == (state != "good")


@pytest.mark.parametrize(("need", "state"), [(10**18, "bad"), (1000, "good")])
def test_a_full_disk_is_told_before_the_folder_exists(tmp_path: Path, need: int, state: str) -> None:
    finding = machine.free_finding(tmp_path / "not" / "there", need)
    assert finding.state == state
    assert bool(finding.fix) == (state != "good")

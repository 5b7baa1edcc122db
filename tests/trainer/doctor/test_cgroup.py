from pathlib import Path

import pytest

from trainer.doctor.cgroup import memory_left, quota_cores

V1_HUGE = "9223372036854771712"


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/slurm/job\n", {"slurm/cpu.max": "400000 100000", "slurm/job/cpu.max": "max 100000"}, 4.0),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "100000 100000"}, 1.0),
        ("0::/not/here\n", {"cpu.max": "200000 100000"}, 2.0),  # in a container without a namespace of its own
        (
            "4:cpu,cpuacct:/docker/1f\n0::/\n",
            {"cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "150000", "cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000"},
            1.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:memory:/x\n", {}, None),
        ("", {}, None),
        ("nonsense\n", {}, None),
    ],
)
def test_the_least_quota_counts(tmp_path: Path, membership: str, files: dict[str, str], cores: float | None) -> None:
    assert quota_cores(membership, lay(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("membership", "files", "left"),
    [
        ("0::/\n", {"memory.max": "max", "memory.current": "5"}, None),
        ("0::/j\n", {"j/memory.max": "1000", "j/memory.current": "400"}, 600),
        (
            "0::/j\n",
            {"j/memory.max": "1000", "j/memory.current": "900", "j/memory.stat": "anon 600\ninactive_file 300\n"},
            400,
        ),
        ("0::/j\n", {"j/memory.max": "1000", "j/memory.current": "1100"}, 0),
        ("4:memory:/j\n", {"memory/j/memory.limit_in_bytes": "800", "memory/j/memory.usage_in_bytes": "300"}, 500),
        ("4:memory:/j\n", {"memory/j/memory.limit_in_bytes": V1_HUGE, "memory/j/memory.usage_in_bytes": "3"}, None),
    ],
)
def test_what_a_group_can_still_have(tmp_path: Path, membership: str, files: dict[str, str], left: int | None) -> None:
    assert memory_left(membership, lay(tmp_path, files)) == left

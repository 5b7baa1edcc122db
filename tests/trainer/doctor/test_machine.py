from pathlib import Path

import pytest

from trainer.doctor import machine


@pytest.mark.parametrize(
    ("allowed", "present", "quota", "state"),
    [(8, 8, None, "good"), (4, 8, None, "note"), (8, 8, 2.0, "bad"), (8, 8, 8.0, "good"), (8, 64, 8.0, "note")],
)
def test_fewer_cpus_than_the_machine_has_are_told(allowed: int, present: int, quota: float | None, state: str) -> None:
    assert machine.cpu_finding(allowed, present, quota).state == state


def test_a_quota_names_the_threads_that_fit() -> None:
    finding = machine.cpu_finding(8, 8, 2.5)
    assert "the time of 2.5" in finding.message
    assert finding.fix.endswith("--threads 2")


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/slurm/job\n", {"slurm/cpu.max": "400000 100000", "slurm/job/cpu.max": "max 100000"}, 4.0),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "100000 100000"}, 1.0),
        ("0::/not/here\n", {"cpu.max": "200000 100000"}, 2.0),  # in a container without a namespace of its own
        ("4:cpu,cpuacct:/docker/1f\n0::/\n", {}, None),
        ("nonsense\n", {}, None),
    ],
)
def test_the_least_quota_counts(tmp_path: Path, membership: str, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.quota_cores(machine.group_files("cpu.max", membership, tmp_path)) == cores


@pytest.mark.parametrize(("total", "state"), [(64 << 20, "bad"), (8 << 30, "good")])
def test_dockers_shared_memory_is_told(total: int, state: str) -> None:
    assert machine.shared_memory_finding(total).state == state


@pytest.mark.parametrize(
    ("text", "emulated"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512bw\nbogomips: 1\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("Features\t: fp asimd\n", True),
        ("", False),
    ],
)
def test_cpus_that_emulate_bf16_are_named(text: str, emulated: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    finding = machine.bf16_finding(tmp_path / "cpuinfo")
    assert (finding is not None) == emulated
    assert finding is None or (finding.state, finding.fix) == ("note", "train with --precision fp32")


def test_a_machine_that_does_not_describe_its_cpus_gets_no_note_on_bf16(tmp_path: Path) -> None:
    assert machine.bf16_finding(tmp_path / "absent") is None

import subprocess
import sys
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


def test_every_finding_is_a_line_and_names_its_fix(tmp_path: Path) -> None:
    findings = machine.findings(tmp_path, tmp_path / "run")
    assert {"packages", "DALI", "GPU", "CPUs"} <= {finding.name for finding in findings}
    for finding in findings:
        assert finding.message
        assert "\n" not in finding.message + finding.fix
        assert bool(finding.fix) == (finding.state != "good")
    assert list(tmp_path.iterdir()) == []


def test_without_folders_the_machine_alone_is_checked() -> None:
    assert not {"data", "output"} & {finding.name for finding in machine.findings(None, None)}


def test_shared_memory_is_no_place_for_a_run() -> None:
    if Path("/dev/shm").is_mount():
        (finding,) = [one for one in machine.findings(None, Path("/dev/shm/run")) if one.name == "output"]
        assert finding.state == "bad"


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.doctor.machine import findings; "
        "findings(Path('.'), Path('.')); "
        "print([name for name in ('torch', 'nvidia', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

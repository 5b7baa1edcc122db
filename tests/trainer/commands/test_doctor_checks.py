import subprocess
import sys
from pathlib import Path

from trainer.commands.doctor import machine_checks


def test_every_finding_is_a_line_and_names_its_fix(tmp_path: Path) -> None:
    findings = machine_checks(tmp_path, tmp_path / "run")
    assert {"packages", "DALI", "GPU", "CPUs"} <= {finding.name for finding in findings}
    for finding in findings:
        assert finding.message
        assert "\n" not in finding.message + finding.fix
        assert bool(finding.fix) == (finding.state != "good")
    assert list(tmp_path.iterdir()) == []


def test_without_folders_the_machine_alone_is_checked() -> None:
    assert not {"data", "output"} & {finding.name for finding in machine_checks(None, None)}


def test_shared_memory_is_no_place_for_a_run() -> None:
    if Path("/dev/shm").is_mount():
        (finding,) = [one for one in machine_checks(None, Path("/dev/shm/run")) if one.name == "output"]
        assert finding.state == "bad"


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.doctor import machine, versions; "
        "list(machine.findings(Path('.'), Path('.'))); list(versions.findings(on_gpu=True)); "
        "list(machine.gpu_findings(machine.look_at_gpus(), versions.torch_cuda())); "
        "print([name for name in ('torch', 'nvidia', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

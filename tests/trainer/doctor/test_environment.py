import subprocess
import sys
from pathlib import Path

from trainer.doctor.environment import Finding, findings


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in found}


def test_every_finding_is_a_line_and_tells_what_to_do(tmp_path: Path) -> None:
    found = findings(tmp_path, tmp_path / "run", 10**6)
    assert {"packages", "DALI", "GPU", "CPUs", "memory", "open files", "disk", "clock"} <= set(by_name(found))
    for finding in found:
        assert finding.says
        assert "\n" not in finding.says + finding.mend
        assert bool(finding.mend) == (finding.state != "good")
    assert list(tmp_path.iterdir()) == []


def test_without_folders_the_machine_alone_is_looked_at() -> None:
    assert not {"data", "output", "disk", "clock"} & set(by_name(findings(None, None, None)))


def test_a_need_that_no_disk_has_is_bad(tmp_path: Path) -> None:
    assert by_name(findings(None, tmp_path, 10**18))["disk"].state == "bad"


def test_shared_memory_is_no_place_for_a_run() -> None:
    if Path("/dev/shm").is_mount():
        assert by_name(findings(None, Path("/dev/shm/run"), None))["output"].state == "bad"


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.doctor.environment import findings; "
        "findings(Path('.'), Path('.'), 1); "
        "print([name for name in ('torch', 'nvidia', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

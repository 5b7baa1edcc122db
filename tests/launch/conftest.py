"""A cluster of stand-ins."""

from pathlib import Path

import pytest

from tests.launch import stand_ins


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Slurm's stand-ins on PATH write down how they were called; squeue tells what the file `queue` holds."""
    queue = f"cat {tmp_path}/queue 2>/dev/null || {{ echo 'error: Invalid job id specified' >&2; exit 1; }}"
    path, calls = stand_ins.slurm(tmp_path / "bin", squeue=queue, sacct="exit 1", scancel="exit 0")
    monkeypatch.setenv("PATH", path)
    return calls

import pickle
from pathlib import Path

import pytest

from tests import commands


class Touch:
    """Unpickled, it touches a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize(("mode", "runs"), [(0o700, True), (0o755, True), (0o775, False), (0o707, False)])
def test_what_others_could_have_written_is_not_unpickled(tmp_path: Path, mode: int, runs: bool) -> None:
    folder, touched = tmp_path / "launch", tmp_path / "touched"
    folder.mkdir()
    folder.chmod(mode)
    (folder / "12_submitted.pkl").write_bytes(pickle.dumps(Touch(touched)))
    slurm = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "12"}
    done = commands.run("launch.worker", folder, environment=slurm)
    assert touched.exists() == runs
    if not runs:
        assert done.returncode == 2
        assert f"{folder} can be written by others (mode {mode:o}); chmod go-w it; the job in" in done.stderr

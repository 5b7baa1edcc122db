from pathlib import Path

import pytest

from trainer.rundir import RunDirectory
from trainer.telemetry.journal import Journal


def test_a_loss_that_is_no_number_is_no_record(tmp_path: Path) -> None:
    journal = Journal(RunDirectory(tmp_path), 0, 0, print)
    with pytest.raises(ValueError, match="JSON"):
        journal.write("train", 1, {"loss": float("nan")})
    journal.close()
    assert list(RunDirectory(tmp_path).records()) == []


def test_starts_are_counted_and_stay_when_steps_are_dropped(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for number in range(3):
        journal = Journal(run, 0, 0, print)
        assert journal.starts == number
        journal.write("start", 0, {})
        journal.write("train", 5, {"loss": 1.0})
        journal.close()
    assert [record["kind"] for record in run.records()] == ["start", "start", "start", "train"]

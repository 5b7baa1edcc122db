import json
import tracemalloc
from pathlib import Path

import pytest

from tests.limits import full_disk
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


def test_a_run_that_goes_on_after_a_divergence_drops_that_it_diverged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for _ in range(2):
        journal = Journal(run, 5, 0, print)
        journal.write("diverged", 3, {"why": "the loss is nan"})
        journal.close()
    assert len(list(run.records())) == 1


def logged(run: RunDirectory, steps: int) -> None:
    journal = Journal(run, 0, 0, print)
    journal.write("start", 0, {})
    for step in range(1, steps + 1):
        journal.write("train", step, {"loss": 1.0})
    assert journal.records == steps
    journal.close()


@pytest.mark.parametrize(
    ("damage", "gone"),
    [
        pytest.param("", [], id="none"),
        pytest.param("deleted", [10], id="deleted"),
        pytest.param("emptied", [10], id="emptied"),
        pytest.param("cut", [4], id="cut within a line"),
    ],
)
def test_records_that_the_checkpoint_counted_and_that_are_gone_are_named(
    tmp_path: Path, damage: str, gone: list[int]
) -> None:
    run = RunDirectory(tmp_path)
    logged(run, 12)  # two past the checkpoint
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    if damage == "deleted":
        run.metrics.unlink()
    elif damage:
        run.metrics.write_bytes(b"".join(lines[:7]) + lines[7][:9] if damage == "cut" else b"")
    journal = Journal(run, 10, 0, print)
    assert journal.gone(10, 10) == [
        f"metrics.jsonl lacks {count} of the 10 records that it had up to step 10" for count in gone
    ]
    journal.close()
    assert len(run.metrics.read_bytes().splitlines()) == {"": 11, "cut": 7}.get(damage, 0)


def test_steps_of_which_no_checkpoint_is_left_are_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    logged(run, 12)
    journal = Journal(run, 0, 0, print)
    assert journal.gone(0, 0) == ["there is no checkpoint of the steps up to 12, which are trained again"]
    journal.close()
    again = Journal(run, 0, 0, print)
    assert again.gone(0, 0) == []
    again.close()


def test_records_that_only_memory_holds_are_no_end_of_a_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    journal = Journal(run, 0, 0, [].append)
    with full_disk(100):
        for step in range(1, 5):
            journal.write("train", step, {"loss": 1.0})
        with pytest.raises(OSError, match="File too large") as failure:
            journal.settle()
    assert failure.value.filename == str(run.metrics)
    assert journal.records == 4
    journal.settle()
    journal.close()
    assert [record["step"] for record in run.records()] == [1, 2, 3, 4]


def test_a_restart_holds_no_list_of_all_records(tmp_path: Path) -> None:
    run, record = RunDirectory(tmp_path), {"kind": "train", **{f"figure_{number}": 0.5 for number in range(20)}}
    run.metrics.write_text("".join(json.dumps({**record, "step": step}) + "\n" for step in range(2_000)))
    tracemalloc.start()
    try:
        Journal(run, 2_000, 0, print).close()
        assert tracemalloc.get_traced_memory()[1] < 1e6  # a list of all would take 2.5 MB
    finally:
        tracemalloc.stop()
    assert sum(1 for _ in run.records()) == 2_000

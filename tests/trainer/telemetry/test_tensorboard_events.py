import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from tests.limits import full_disk
from trainer.telemetry.tensorboard import Events


def scalar(value: float) -> Summary:
    return Summary(value=[Summary.Value(tag="train/loss", simple_value=value)])


def test_what_a_full_disk_did_not_take_is_written_once_there_is_room_again(tmp_path: Path) -> None:
    said: list[str] = []
    events = Events(tmp_path, None, said.append)
    with full_disk(4_000):
        for step in range(1, 201):
            events.add(scalar(step), step)
        read = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
        assert 20 < len(read) < 200
    events.add(scalar(201), 201)
    events.close()
    read = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in read] == [(step, step) for step in range(1, 202)]
    assert len(said) == 2


def test_a_later_file_voids_the_steps_that_are_done_again(tmp_path: Path) -> None:
    for purge_step, steps in ((None, range(1, 6)), (4, range(4, 8))):
        events = Events(tmp_path, purge_step, print)
        for step in steps:
            events.add(scalar(step + 0.5 * bool(purge_step)), step)
        events.close()
    read = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in read] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4.5),
        (5, 5.5),
        (6, 6.5),
        (7, 7.5),
    ]


def test_files_are_read_in_the_order_of_the_starts_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events.out.tfevents.notes").touch()
    for now, step in ((2_000_000_000.0, 1), (1_000_000_000.0, 2), (1_000_000_000.0, 3), (3_000_000_000.0, 4)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        events = Events(tmp_path, step, print)
        events.add(scalar(step), step)
        events.close()
    names = sorted(path.name.split(".")[3] for path in tmp_path.glob("events*") if path.stat().st_size)
    assert names == ["2000000000", "2000000001", "2000000002", "3000000000"]
    (tmp_path / "events.out.tfevents.notes").unlink()
    read = EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in read] == [(1, 1), (2, 2), (3, 3), (4, 4)]

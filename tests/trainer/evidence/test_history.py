import tracemalloc

import pytest

from tests.trainer.evidence.runs import EVALUATION, START, train_records
from trainer.evidence.history import history


def test_starts_and_evaluations_stay_as_they_are_and_all_others_are_columns() -> None:
    points = train_records(3)
    del points[1]["memory_gb"]
    other = {"kind": "of a later version", "step": 3, "time": 0.0}
    told = history([START, *points, EVALUATION, other])
    assert told.events == [START, EVALUATION]
    assert told.of_kind("eval") == [EVALUATION]
    assert list(told.steps) == [point["step"] for point in points]
    assert told.known("loss") == [point["loss"] for point in points]
    assert told.known("memory_gb") == [points[0]["memory_gb"], points[2]["memory_gb"]]
    assert len(told.figures["memory_gb"]) == 3
    assert told.records == 5


def test_replaced_images_are_those_of_the_last_record() -> None:
    assert history([START, *train_records(2, replaced=3), *train_records(1, replaced=4)]).replaced == 4
    assert history([START, *train_records(2)]).replaced == 0


def test_a_long_run_takes_a_hundred_bytes_a_record() -> None:
    records = ({"kind": "train", "step": step, "time": 0.0, "loss": float(step)} for step in range(5_000))
    tracemalloc.start()
    try:
        told = history(records)
        assert tracemalloc.get_traced_memory()[1] < 100 * 5_000
    finally:
        tracemalloc.stop()
    assert told.known("loss")[-1] == pytest.approx(4_999.0)

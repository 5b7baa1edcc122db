import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainer.record import states
from trainer.metrics import Scores
from trainer.rundir import RunDirectory
from trainer.state import TrainState
from trainer.telemetry.console import Console
from trainer.telemetry.telemetry import Point, Telemetry, Waiting
from trainer.telemetry.usage import Usage


def state(step: int, evaluated: int) -> TrainState:
    return states.state(step=step, evaluated=evaluated)


def point(step: int, loss: float) -> Point:
    return Point(
        step=step,
        total_steps=40,
        epoch=(step - 1) // 10,
        epochs=4,
        scores=Scores(loss=loss, top1=50.0, top5=90.0, images=64),
        broken=step // 20,
        skipped=step // 30,
        lr=0.1,
        images_per_s=1234.5,
        data_wait=0.25,
        eta_s=61.0,
        usage=Usage(memory_gb=1.5004, power_w=250.0 if step % 2 else None),
    )


def stretch(run: RunDirectory, start: TrainState, last: int, offset: float) -> None:
    """Log steps up to `last`, with an evaluation every ten, as a process does that is then killed."""
    telemetry = Telemetry(run, start, Console(), {"host": "here"})
    for step in range(start.step + 1, last + 1):
        telemetry.train(point(step, loss=step + offset))
        if step % 10 == 0:
            scores = Scores(loss=1.0, top1=step + offset, top5=99.0, images=100)
            telemetry.evaluation(state(step, step // 10), [scores, replace(scores, top1=step + 0.25)])
    telemetry.close()


def test_a_restart_leaves_one_curve_without_overlap_or_gap(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, state(0, 0), last=25, offset=0.5)
    stretch(run, state(15, 1), last=30, offset=0.0)

    records = run.records()
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 31))
    assert [r["loss"] for r in records if r["kind"] == "train"] == [*(s + 0.5 for s in range(1, 16)), *range(16, 31)]
    assert [(r["epoch"], r["top1"]) for r in records if r["kind"] == "eval"] == [(1, 10.5), (2, 20), (3, 30)]
    assert [r["step"] for r in records if r["kind"] == "start"] == [0, 15]

    board = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [
        *((s, s + 0.5) for s in range(1, 16)),
        *((s, s) for s in range(16, 31)),
    ]
    assert [e.value for e in board.Scalars("data/broken")] == [0] * 19 + [1] * 11
    assert [(e.step, e.value) for e in board.Scalars("eval/top1")] == [(10, 10.5), (20, 20), (30, 30)]
    assert [(e.step, e.value) for e in board.Scalars("eval_ema/top1")] == [(10, 10.25), (20, 20.25), (30, 30.25)]


def test_an_evaluation_that_the_state_does_not_know_of_is_dropped(tmp_path: Path) -> None:
    """A kill between an evaluation's record and the checkpoint behind it: both are done again."""
    run = RunDirectory(tmp_path)
    stretch(run, state(0, 0), last=10, offset=0.0)
    Telemetry(run, state(10, 0), Console(), {}).close()
    assert [r["kind"] for r in run.records()] == ["start", *["train"] * 10, "start"]


def test_every_record_is_one_line_of_json_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    telemetry = Telemetry(run, state(0, 0), Console(), {"host": "here"})
    telemetry.train(point(1, loss=2.0))
    first, second = map(json.loads, run.metrics.read_text().splitlines())
    telemetry.close()
    assert (first["kind"], first["host"]) == ("start", "here")
    assert {
        key: second[key]
        for key in ("kind", "step", "epoch", "loss", "top1", "lr", "images_per_s", "data_wait", "broken", "skipped")
    } == {
        "kind": "train",
        "step": 1,
        "epoch": 0,
        "loss": 2.0,
        "top1": 50.0,
        "lr": 0.1,
        "images_per_s": 1234.5,
        "data_wait": 0.25,
        "broken": 0,
        "skipped": 0,
    }
    assert (second["memory_gb"], second["power_w"]) == (1.5, 250.0)


def test_a_device_that_does_not_say_what_it_draws_has_no_such_field(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, state(0, 0), last=2, offset=0.0)
    assert ["power_w" in record for record in run.records() if record["kind"] == "train"] == [True, False]
    board = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [(e.step, e.value) for e in board.Scalars("device/memory_gb")] == [(1, 1.5), (2, 1.5)]


def test_the_line_holds_what_a_user_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stretch(RunDirectory(tmp_path), state(0, 0), last=1, offset=0.0)
    assert capsys.readouterr().out == (
        "epoch 1/4  step 1/40  loss 1.000  top-1 50.0 %  1234 images/s  waiting for data 25%  ETA 0:01:01\n"
    )


def test_broken_images_and_skipped_steps_are_said_where_there_are_any() -> None:
    assert "broken images 2  skipped steps 1  ETA" in point(40, loss=1.0).line()


def test_waiting_counts_the_source_s_time_and_not_the_consumer_s() -> None:
    def slow() -> object:
        for item in range(3):
            time.sleep(0.02)
            yield item

    source = Waiting(slow())  # pyright: ignore[reportArgumentType]
    for _ in source:
        time.sleep(0.05)
    assert 0.06 <= source.seconds < 0.15

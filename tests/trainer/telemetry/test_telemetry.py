import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.limits import full_disk
from tests.system.measured import MEASURED
from tests.trainer.telemetry import watched
from tests.trainer.telemetry.watched import point
from trainer.metrics import Scores
from trainer.rundir import RunDirectory
from trainer.telemetry.telemetry import Telemetry, Took, conclude
from trainer.telemetry.tensorboard import BY_IMAGES


def opened(run: RunDirectory, step: int, evaluated: int) -> Telemetry:
    context = watched.context(run.path)
    return Telemetry(context, watched.plan(context), step, evaluated, {"host": "here"})


def stretch(run: RunDirectory, begin: int, evaluated: int, last: int, offset: float) -> None:
    """Log steps up to `last`, with an evaluation every ten, as a process does that is then killed."""
    if begin:
        time.sleep(1)  # files are read in the order of the seconds in their names, and a start takes some
    telemetry = opened(run, begin, evaluated)
    for step in range(begin + 1, last + 1):
        telemetry.train(point(step, loss=step + offset))
        if step % 10 == 0:
            scores = Scores(loss=1.0, top1=step + offset, top5=99.0, images=100)
            found = [scores, replace(scores, top1=step + 0.25)]
            telemetry.evaluation(step, step // 10, found, Took(evaluation_s=5.0, epoch_s=20.0), step + offset)
    telemetry.close()


def board(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def test_a_restart_leaves_one_curve_without_overlap_or_gap(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, 0, 0, last=25, offset=0.5)
    stretch(run, 15, 1, last=30, offset=0.0)

    records = list(run.records())
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 31))
    assert [r["loss"] for r in records if r["kind"] == "train"] == [*(s + 0.5 for s in range(1, 16)), *range(16, 31)]
    assert [r["restarts"] for r in records if r["kind"] == "train"] == [0] * 15 + [1] * 15
    assert [(r["epoch"], r["top1"]) for r in records if r["kind"] == "eval"] == [(1, 10.5), (2, 20), (3, 30)]
    assert [(r["step"], r["schema"]) for r in records if r["kind"] == "start"] == [(0, 1), (15, 1)]

    curves = board(tmp_path)
    assert [(e.step, e.value) for e in curves.Scalars("train/loss")] == [
        *((s, s + 0.5) for s in range(1, 16)),
        *((s, s) for s in range(16, 31)),
    ]
    assert [e.value for e in curves.Scalars("input/replaced")] == [0] * 19 + [1] * 11
    assert [(e.step, e.value) for e in curves.Scalars("eval/top1")] == [(10, 10.5), (20, 20), (30, 30)]
    assert [(e.step, e.value) for e in curves.Scalars("eval_ema/top1")] == [(10, 10.25), (20, 20.25), (30, 30.25)]


def test_curves_by_images_seen_are_one_curve_as_well(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, 0, 0, last=25, offset=0.5)
    stretch(run, 15, 1, last=30, offset=0.0)
    curves = board(tmp_path / BY_IMAGES)
    assert [(e.step, e.value) for e in curves.Scalars("images_seen/eval_top1")] == [(80, 10.5), (160, 20), (240, 30)]
    assert [e.step for e in curves.Scalars("images_seen/train_loss")] == [8 * step for step in range(1, 31)]


def test_an_evaluation_that_the_state_does_not_know_of_is_dropped(tmp_path: Path) -> None:
    """A kill between an evaluation's record and the checkpoint behind it: both are done again."""
    run = RunDirectory(tmp_path)
    stretch(run, 0, 0, last=10, offset=0.0)
    opened(run, 10, 0).close()
    assert [r["kind"] for r in run.records()] == ["start", *["train"] * 10, "start"]


def test_a_disk_that_is_full_for_a_while_leaves_no_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path)
    telemetry = opened(run, 0, 0)
    with full_disk(6_000):
        for step in range(1, 21):
            telemetry.train(point(step))
        assert sum(1 for _ in run.records()) < 15
        with pytest.raises(OSError, match=r"metrics.jsonl"):
            telemetry.journal.settle()
    telemetry.train(point(21))
    telemetry.journal.settle()
    assert telemetry.journal.records == 21
    telemetry.close()
    steps = list(range(1, 22))
    assert [record["step"] for record in run.records()] == [0, *steps]
    assert [event.step for event in board(tmp_path).Scalars("train/loss")] == steps
    output = capsys.readouterr().out
    assert output.count("cannot be written: File too large") == output.count("can be written again") >= 2


def test_what_is_gone_is_said_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, 0, 0, last=5, offset=0.0)
    run.metrics.unlink()
    context = watched.context(tmp_path)
    Telemetry(context, watched.plan(context), 5, 0, {"host": "here"}, records=5).close()
    words = "metrics.jsonl lacks 5 of the 5 records that it had up to step 5"
    assert words in capsys.readouterr().out
    assert [record["gone"] for record in run.records()] == [[words]]


def test_every_record_is_one_line_of_json_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    telemetry = opened(run, 0, 0)
    telemetry.train(point(1, loss=2.0))
    first, second = map(json.loads, run.metrics.read_text().splitlines())
    telemetry.close()
    assert (first["kind"], first["host"]) == ("start", "here")
    times = {"data_wait": 0.25, "forward": 0.5, "backward": 0.25}
    speed = {"images_per_s": 1234.5, "images_per_s_per_device": 617.25, "tflops_per_s": 25.0, "mfu": 0.25}
    steps = {"step_p50_ms": 1000.0, "step_p95_ms": 1000.0, "step_max_ms": 1000.0}
    device = {
        "memory_gb": 1.5004,
        "device_memory_gb": 2.25,
        "power_w": 250.0,
        "host_memory_gb": 2.0,
        "restarts": 0,
        "time": second["time"],
    }
    assert {name: value for name, value in second.items() if name in MEASURED} == times | speed | steps | device
    assert {name: value for name, value in second.items() if name not in MEASURED} == {
        **{"kind": "train", "step": 1, "epoch": 0, "loss": 2.0, "top1": 50.0, "top5": 90.0, "lr": 0.1},
        **{"weight_norm": 12.5, "gradient_norm": 2.5},
        **{"images_seen": 8, "replaced": 0, "quarantined": 3, "decoder_restarts": 0, "skipped": 0},
    }


def test_what_is_not_known_has_no_field(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, 0, 0, last=2, offset=0.0)
    train = [record for record in run.records() if record["kind"] == "train"]
    for name in ("power_w", "mfu", "gradient_norm"):
        assert [name in record for record in train] == [True, False]
    assert [(e.step, e.value) for e in board(tmp_path).Scalars("machine/power_w")] == [(1, 250.0)]


def test_an_evaluation_tells_its_share_of_the_epoch(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    stretch(run, 0, 0, last=10, offset=0.0)
    (record,) = (record for record in run.records() if record["kind"] == "eval")
    assert (record["evaluation_s"], record["epoch_s"], record["images_seen"]) == (5.0, 20.0, 80)
    assert [(e.step, e.value) for e in board(tmp_path).Scalars("time/evaluation")] == [(10, 0.25)]


def test_an_evaluation_is_said_with_its_epoch_and_the_best_so_far(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = opened(RunDirectory(tmp_path), 20, 1)
    scores = Scores(loss=1.0, top1=40.0, top5=90.0, images=1000, broken=2)
    telemetry.evaluation(20, 2, [scores, scores], Took(evaluation_s=5.0, epoch_s=20.0), 45.5)
    telemetry.close()
    figures = "top-1 40.00 %, top-5 90.00 %, loss 1.0000 on 1,000 images, 2 more are broken"
    assert capsys.readouterr().out == (
        f"epoch 2: {figures}\nepoch 2, averaged weights: {figures}; best top-1 45.50 %\n"
    )


def test_recipe_and_settings_are_told_once_and_the_environment_at_each_start(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for begin in (0, 5):
        stretch(run, begin, 0, last=6, offset=0.0)
    found = board(tmp_path)
    texts = {tag: found.Tensors(f"{tag}/text_summary") for tag in ("recipe", "environment")}
    assert [event.step for event in texts["recipe"]] == [0]
    assert b"resnet20" in texts["recipe"][0].tensor_proto.string_val[0]
    assert [event.step for event in texts["environment"]] == [0, 5]
    assert b'"host": "here"' in texts["environment"][1].tensor_proto.string_val[0]


def test_the_report_of_a_finished_run_is_a_text_without_pictures(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.report.write_text("# A run\n\n**Reproduced.**\n\n![curves](curves.png)\n")
    stretch(run, 0, 0, last=2, offset=0.0)
    conclude(run, 2, print)
    (shown,) = board(tmp_path).Tensors("Report/text_summary")
    text = shown.tensor_proto.string_val[0].decode()
    assert shown.step == 2
    assert "**Reproduced.**" in text
    assert "curves.png" not in text


def test_a_training_batch_is_shown(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    telemetry = opened(run, 0, 0)
    telemetry.batch(1, torch.zeros(8, 3, 32, 32), torch.arange(8) % 4)
    telemetry.close()
    (shown,) = board(tmp_path).Images("images/training")
    assert shown.step == 1
    assert shown.encoded_image_string[:2] == b"\xff\xd8"  # a JPEG


def test_the_line_holds_what_a_user_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stretch(RunDirectory(tmp_path), 0, 0, last=1, offset=0.0)
    assert capsys.readouterr().out == (
        "epoch 1/4  step 1/40  ETA 0:01:01  loss 1.000  top-1 50.0 %  1234 images/s  waiting for data 25%\n"
    )


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        pytest.param([0.9, 0.04, 0.04, 0.04], 0, id="the loader's start is no wait"),
        pytest.param([0.0, 0.5, 0.5, 0.5, 0.5], 1, id="once"),
        pytest.param([0.0, 0.05, 0.05, 0.4], 1, id="in the mean, 17 %"),
        pytest.param([0.0, 0.05, 0.05, 0.15], 0, id="in the mean, 8 %"),
    ],
)
def test_waiting_for_data_is_said_once_where_it_takes_over_a_tenth_of_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], waits: list[float], said: int
) -> None:
    telemetry = opened(RunDirectory(tmp_path), 0, 0)
    for step, wait in enumerate(waits, start=1):
        telemetry.train(point(step, data_wait=wait))
    telemetry.close()
    lines = [line for line in capsys.readouterr().out.splitlines() if "provenet doctor" in line]
    assert len(lines) == said


def test_the_word_on_waiting_says_how_much_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = opened(RunDirectory(tmp_path), 0, 0)
    for step in (1, 2, 3):
        telemetry.train(point(step, data_wait=0.5))
    telemetry.close()
    assert (
        "waiting for data takes 50% of the time: without it training would be 2.0 times as fast; "
        "provenet doctor says what to change\n"
    ) in capsys.readouterr().out

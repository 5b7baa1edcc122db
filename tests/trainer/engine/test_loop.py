"""A run of two epochs of 4 steps, from its first step to its end, and stopped on the way."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from data.types import BrokenImage
from tests.trainer.engine.test_step_sync import READS
from tests.trainer.engines import RECIPE, ask_to_stop, built, records, together, weights
from trainer import metrics
from trainer.checkpoint import files
from trainer.engine.divergence import DivergedError
from trainer.engine.fit import Fit
from trainer.engine.loop import Logging, fit, load, point, save, train_epoch
from trainer.metrics import Scores
from trainer.optim.config import ConstantScheduleConfig, LinearScheduleConfig
from trainer.recipe.schedule import learning_rate
from trainer.telemetry.point import Counts
from trainer.world import World

SLOPE = replace(RECIPE, schedule=LinearScheduleConfig())


def finished(images: Path, output: Path, **site: Any) -> dict[str, torch.Tensor]:
    with built(images, output, SLOPE, **site) as parts:
        assert fit(parts)
        assert (parts.state.step, parts.state.evaluated) == (8, 2)
        return weights(parts)


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """The directory of a run that nobody stopped, and its weights."""
    output = tmp_path_factory.mktemp("whole")
    return output, finished(images, output)


def test_every_point_says_where_the_run_is(whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    points = records(whole[0], "train")
    assert [point["step"] for point in points] == list(range(1, 9))
    assert [point["epoch"] for point in points] == [0] * 4 + [1] * 4
    assert [point["images_seen"] for point in points] == list(range(24, 193, 24))
    assert [point["lr"] for point in points] == [learning_rate(SLOPE, step, 4) for step in range(8)]
    assert [(point["step"], point["epoch"]) for point in records(whole[0], "eval")] == [(4, 1), (8, 2)]
    saved = [files.read_manifest(path) for path in sorted((whole[0] / "checkpoints").iterdir())]
    averaged = [point["top1"] for point in records(whole[0], "eval_ema")]
    assert [(one.step, one.top1) for one in saved] == [(4, averaged[0]), (8, averaged[1])]
    assert any(b"images/training" in events.read_bytes() for events in whole[0].glob("events.*"))


def test_the_loss_of_a_point_is_the_mean_over_the_images_since_the_last(
    whole: tuple[Path, dict[str, torch.Tensor]], images: Path, tmp_path: Path
) -> None:
    """Of those of an epoch's end too, which comes before the count of steps is full."""
    finished(images, tmp_path, log_every=3)
    single, several = records(whole[0], "train"), records(tmp_path, "train")
    assert [point["step"] for point in several] == [3, 4, 6, 8]
    for name in ("loss", "top1"):
        values = [point[name] for point in single]
        means = [sum(values[a:b]) / (b - a) for a, b in ((0, 3), (3, 4), (4, 6), (6, 8))]
        assert [point[name] for point in several] == pytest.approx(means, rel=1e-6)


def stop_in(parts: Fit, step: int) -> None:
    """Ask to stop in the forward pass of a step, counted from 1; at once where that is 0."""

    def ask(*_: Any) -> None:
        if parts.state.model.training and parts.state.step == step - 1 and not parts.context.stop.is_set:
            ask_to_stop(parts.context.stop)

    parts.state.model.register_forward_pre_hook(ask)
    if not step:
        ask_to_stop(parts.context.stop)


@pytest.mark.parametrize("stop_after", [0, 1, 4, 5, 7, 8])
def test_a_run_that_is_stopped_ends_with_the_weights_of_one_that_was_not(
    stop_after: int, whole: tuple[Path, dict[str, torch.Tensor]], images: Path, tmp_path: Path
) -> None:
    with built(images, tmp_path, SLOPE, log_every=3) as parts:
        stop_in(parts, stop_after)
        assert not fit(parts)
        stopped = parts.state.step
        assert stop_after <= stopped <= max(stop_after, 7)
    with built(images, tmp_path, SLOPE, log_every=3) as parts:
        assert parts.state.step == stopped
        assert fit(parts)
        ended = weights(parts)
    assert all(torch.equal(value, whole[1][name]) for name, value in ended.items())
    figures = [(point["step"], point["loss"], point["images_seen"]) for point in records(tmp_path, "train")]
    assert [step for step, _, _ in figures] == [3, 4, 6, 8]
    losses = [point["loss"] for point in records(whole[0], "train")]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 3), (3, 4), (4, 6), (6, 8))]
    assert [loss for _, loss, _ in figures] == pytest.approx(means, rel=1e-9)


def test_a_point_is_begun_without_reading_a_number_from_the_device(images: Path, tmp_path: Path) -> None:
    """On a CPU nothing is waited for, but the same calls are made that would wait for a GPU."""
    with built(images, tmp_path) as parts:
        train_epoch(parts)
        parts.state.step += 1
        logging = Logging(parts)
        logging._alone = False
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            logging.begin(0.1)
        calls = {event.key for event in recorded.key_averages()}
        assert "aten::cat" in calls
        assert not calls & READS
        assert len(records(tmp_path, "train")) == 4


def test_weights_that_a_step_made_infinite_end_the_run_at_its_point(images: Path, tmp_path: Path) -> None:
    """The loss of that step is finite, and a norm that is not would be no JSON."""
    high = replace(RECIPE, optimizer=replace(RECIPE.optimizer, lr=1e25), schedule=ConstantScheduleConfig())
    with (
        built(images, tmp_path, high) as parts,
        pytest.raises(DivergedError, match=r"the weights are not finite numbers; .* first at step 1"),
    ):
        train_epoch(parts)
    (record,) = records(tmp_path, "diverged")
    assert (record["step"], record["first"]) == (1, 1)


@pytest.mark.gpu
def test_a_point_is_begun_without_waiting_for_a_gpu(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        train_epoch(parts)
        parts.state.step += 1
        logging = Logging(parts)
        torch.cuda.set_sync_debug_mode("error")
        try:
            logging.begin(0.1)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_finished_run_that_is_started_again_trains_no_step(
    whole: tuple[Path, dict[str, torch.Tensor]], images: Path
) -> None:
    with built(images, whole[0], SLOPE) as parts:
        assert fit(parts)
        assert all(torch.equal(value, whole[1][name]) for name, value in weights(parts).items())
    assert len(records(whole[0], "train")) == 8


def test_a_checkpoint_in_the_middle_of_an_epoch_is_written_when_it_is_due(images: Path, tmp_path: Path) -> None:
    finished(images, tmp_path, save_steps=3, keep_checkpoints=9, keep_best=0)
    steps = {int(path.name.removeprefix("step-")) for path in (tmp_path / "checkpoints").iterdir()}
    assert {4, 8} < steps
    assert steps & {1, 2, 3}
    assert steps & {5, 6, 7}


def test_images_that_broke_are_counted_over_the_whole_run(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path, replace(RECIPE, epochs=1), log_every=2) as parts:
        parts.state.sums[metrics.BROKEN] += 2
        parts.state.broken = 5
        train_epoch(parts)
        assert parts.state.broken == 7
    assert [point["replaced"] for point in records(tmp_path, "train")] == [7, 7]


def test_what_the_loader_replaced_or_could_not_decode_is_counted(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        batch = next(parts.train_loader.epoch(0))
        damaged = replace(batch, broken=(BrokenImage("a", "gone"), BrokenImage("b", "gone")), refusals=3)
        assert load(parts, iter([batch, damaged, batch])) == [batch, damaged]
        assert [parts.state.sums[field] for field in (metrics.BROKEN, metrics.REFUSALS)] == [2, 3]


def test_images_left_out_of_both_splits_are_counted_and_the_time_left_is_that_of_the_steps_left(
    images: Path, tmp_path: Path
) -> None:
    tree = shutil.copytree(images, tmp_path / "tree")
    for split in ("train", "val"):
        sorted((tree / split).rglob("*.*"))[0].write_bytes(b"no image")
    with built(tree, tmp_path / "run", max_broken=0.1) as parts:
        parts.state.step = 1
        parts.meter.restart()
        parts.state.step = 2
        state, counts = parts.state, Counts(images_seen=0, replaced=0, quarantined=0, decoder_restarts=0, skipped=0)
        pace = parts.meter.cut()()
        scores = Scores(loss=1.0, top1=0.0, top5=0.0, images=1)
        learning = parts.meter.learning(0.1, (1.0, 1.0, 1.0))
        found = point(parts, state.step, scores, counts, learning, replace(pace, step_s=2.0))
        assert found.eta_s == 2.0 * (parts.total_steps - 2)
        state.step = 0
        train_epoch(parts)
    assert {record["quarantined"] for record in records(tmp_path / "run", "train")} == {2}


@pytest.mark.parametrize(("place", "message"), [("weights", "the weights are not finite"), ("sums", "the loss is not")])
def test_a_run_that_has_diverged_is_not_saved(place: str, message: str, images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        with torch.no_grad():
            (parts.state.sums if place == "sums" else next(parts.state.model.parameters())).fill_(torch.nan)
        with pytest.raises(DivergedError, match=message):
            save(parts)
        parts.keeper.finish()
    assert not list(tmp_path.glob("checkpoints/*"))


def trained(world: World, images: Path, output: Path, stop_after: int | None) -> tuple[bool, int, torch.Tensor]:
    """One start of two processes, of which the second is asked to stop in a step."""
    with built(images, output, SLOPE, world=world) as parts:
        if world.rank == 1 and stop_after:
            stop_in(parts, stop_after)
        finished = fit(parts)
        return finished, parts.state.step, torch.cat([w.double().flatten() for w in weights(parts).values()])


@pytest.mark.slow
def test_two_processes_stop_and_go_on_together_and_end_near_what_one_learns(
    whole: tuple[Path, dict[str, torch.Tensor]], images: Path, tmp_path: Path
) -> None:
    stopped = together(trained, images, tmp_path, 2)
    assert [finished for finished, _, _ in stopped] == [False, False]
    assert stopped[0][1] == stopped[1][1] < 8
    (ended, steps, ours), (also_ended, same_steps, theirs) = together(trained, images, tmp_path, None)
    assert ended
    assert also_ended
    assert steps == same_steps == 8
    assert torch.equal(ours, theirs)
    single, pair = ([point["loss"] for point in records(run, "train")] for run in (whole[0], tmp_path))
    assert pair[:3] == pytest.approx(single[:3], rel=1e-3)

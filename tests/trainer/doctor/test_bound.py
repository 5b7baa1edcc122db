from dataclasses import replace

import pytest

from tests.trainer.doctor.cases import CPU, GPU
from trainer.doctor import bound
from trainer.doctor.bound import Change, Figures, Pace, Reduction


@pytest.mark.parametrize(
    ("load", "step", "cores", "slowest", "seconds"),
    [
        (Pace(0.010, 0.020), Pace(0.005, 0.001), 8, "loader", 0.010),
        (Pace(0.002, 0.004), Pace(0.005, 0.001), 8, "step", 0.005),
        (Pace(0.002, 0.004), Pace(0.003, 0.006), 2, "cpu", 0.005),  # both want two cores, for 10 ms
        (Pace(0.002, 0.004), Pace(0.003, 0.006), 0.5, "cpu", 0.020),
    ],
)
def test_the_slowest_of_loader_step_and_cores_bounds_an_image(
    load: Pace, step: Pace, cores: float, slowest: str, seconds: float
) -> None:
    limits = bound.limits(load, step, cores)
    assert max(limits.items(), key=lambda pair: pair[1]) == (slowest, pytest.approx(seconds))


def test_a_prediction_is_todays_time_in_proportion_to_the_bound() -> None:
    # both take 5.5 ms where the bound is 5 ms: what it leaves unexplained stays
    assert bound.predicted_s(CPU, CPU.load, Pace(0.003, 0.003), 2) == pytest.approx(0.0055 * 3.5 / 5)
    assert bound.predicted_s(GPU, Pace(0.004, 0.020), GPU.step, 8) == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("figures", "change", "steps"),
    [
        (GPU, None, 10),  # the epoch's own: 15 minutes are 900 steps of a second
        (replace(GPU, images={"train": 10**6, "val": 1}), None, 900),
        (CPU, None, 10),
        (CPU, Change("saving", "", site={"save_steps": 50}), 50),
        (replace(CPU, site=replace(CPU.site, save_steps=None, save_minutes=0.1)), None, 11),  # 6 s, steps of 0.55 s
    ],
)
def test_a_checkpoint_comes_by_count_by_clock_or_at_an_epochs_end(
    figures: Figures, change: Change | None, steps: int
) -> None:
    assert bound.interval(figures, change) == steps


def test_a_checkpoint_that_takes_long_to_write_puts_the_next_one_off() -> None:
    assert CPU.saving
    slow = replace(CPU, saving=replace(CPU.saving, write_s=10.9))
    assert bound.interval(slow) == 20  # steps of 0.55 s


def test_training_is_steps_and_their_checkpoints() -> None:
    assert bound.images_per_s(GPU) == pytest.approx(1000 / 10.01)
    assert bound.images_per_s(CPU) == pytest.approx(1000 / 5.93)
    assert bound.images_per_s(replace(CPU, saving=None)) == pytest.approx(1000 / 5.5)
    assert bound.images_per_s(GPU, Change("threads", "", seconds=0.005)) == pytest.approx(1000 / 5.01)


def test_an_epoch_is_made_of_steps_evaluation_and_checkpoints() -> None:
    # a checkpoint each tenth of 100 steps, the last at the epoch's end
    assert bound.epoch(CPU) == pytest.approx({"training": 55, "evaluation": 4, "checkpoints": 4.3})
    precise = replace(CPU, recipe=replace(CPU.recipe, precise_bn=500))
    assert bound.epoch(precise)["evaluation"] == pytest.approx(6)


def test_two_processes_share_an_epoch() -> None:
    two = replace(GPU, place=replace(GPU.place, world_size=2))
    assert bound.epoch(two) == pytest.approx({"training": 5, "evaluation": 0.1, "checkpoints": 0.01})
    assert bound.images_per_s(two) == pytest.approx(1000 / (10 * 0.5 + 0.01))


ASIDE = replace(GPU, together=Pace(0.005, 0.021))  # its loader is never waited for


@pytest.mark.parametrize(
    ("figures", "kind", "share"),
    [
        (GPU, "loader", 0.5),
        (CPU, "cpu", 25 / 55),
        (replace(CPU, place=replace(CPU.place, threads=1), load=Pace(0.0055, 0.0045)), "loader", 25 / 55),
        (replace(CPU, place=replace(CPU.place, threads=1), load=Pace(0.001, 0.0045)), "cpu", 25 / 55),
        (replace(GPU, load=Pace(0.001, 0.002), together=Pace(0.0051, 0.003)), "step", 0.005 / 0.0051),
        (replace(GPU, together=Pace(0.0049, 0.003)), "step", 1.0),
        (replace(ASIDE, changes=(Change("micro_batch", "", seconds=0.002),)), "passes", 0.6),
        (replace(ASIDE, changes=(Change("precision", "", seconds=0.002),)), "step", 1.0),
        (replace(GPU, changes=(Change("micro_batch", "", seconds=0.0099),)), "loader", 0.5),
        (replace(ASIDE, reduction=Reduction(seconds=0.2, exposed_s=0.1, bytes=1)), "reduction", 0.2),
        (replace(ASIDE, reduction=Reduction(seconds=0.2, exposed_s=0.04, bytes=1)), "step", 1.0),
    ],
)
def test_what_takes_most_beside_the_step_bounds_the_run(figures: Figures, kind: str, share: float) -> None:
    assert bound.diagnose(figures) == (kind, pytest.approx(share))


def test_checkpoints_bound_a_run_that_hardly_does_anything_else() -> None:
    assert CPU.saving
    often = replace(CPU, together=Pace(0.003, 0.011), saving=replace(CPU.saving, cost_s=3.0))
    assert bound.diagnose(often) == ("checkpoints", pytest.approx(30 / (30 + 30 + 4)))


def test_a_long_evaluation_makes_a_small_share_of_the_steps_negligible() -> None:
    waits = replace(GPU, together=Pace(0.006, 0.021))
    assert bound.diagnose(waits)[0] == "loader"
    assert bound.diagnose(replace(waits, images={"train": 1000, "val": 5000}))[0] == "step"

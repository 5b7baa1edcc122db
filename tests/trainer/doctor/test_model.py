from dataclasses import replace

import pytest

from tests.trainer.doctor.cases import CPU, GPU
from trainer.doctor import model
from trainer.doctor.figures import Change, Figures, Pace, Passes, Reduction


@pytest.mark.parametrize(
    ("load", "step", "cores", "seconds"),
    [
        (Pace(0.010, 0.020), Pace(0.005, 0.001), 8, 0.010),  # the loader is slower
        (Pace(0.002, 0.004), Pace(0.005, 0.001), 8, 0.005),  # the step is slower
        (Pace(0.002, 0.004), Pace(0.003, 0.006), 2, 0.005),  # both want two cores, for 10 ms
        (Pace(0.002, 0.004), Pace(0.003, 0.006), 0.5, 0.020),
    ],
)
def test_the_slowest_of_loader_step_and_cores_bounds_an_image(
    load: Pace, step: Pace, cores: float, seconds: float
) -> None:
    assert model.image_s(load, step, cores) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("figures", "limit", "friction"),
    [(GPU, "loader", 1.0), (CPU, "cpu", 1.1), (replace(GPU, load=Pace(0.001, 0.002)), "step", 2.0)],
)
def test_what_the_three_leave_unexplained_is_a_factor(figures: Figures, limit: str, friction: float) -> None:
    assert model.limit(figures) == limit
    assert model.friction(figures) == pytest.approx(friction)


@pytest.mark.parametrize(
    ("before", "after", "cores", "seconds"),
    [(2, 4, 8, 0.005), (2, 1, 8, 0.020), (2, 16, 8, 0.0025), (2, 4, 2, 0.010)],  # never below its CPU time on all cores
)
def test_threads_share_the_loaders_work_as_far_as_there_are_cores(
    before: int, after: int, cores: float, seconds: float
) -> None:
    found = model.threaded(Pace(0.010, 0.020), before, after, cores)
    assert (found.seconds, found.cpu_s) == (pytest.approx(seconds), 0.020)


def test_two_sizes_of_pass_tell_what_a_pass_costs_by_itself() -> None:
    found = model.fitted(2, 0.016, 8, 0.0055)
    assert found.pass_s == pytest.approx(0.028)
    assert found.image_s == pytest.approx(0.002)
    assert found.seconds(28) == pytest.approx(0.003)
    assert model.fitted(2, 0.005, 8, 0.006).pass_s == 0.0  # noise: a larger pass is no slower


@pytest.mark.parametrize(
    ("figures", "change", "steps"),
    [
        (GPU, None, 10),  # the epoch's own: 15 minutes are 900 steps of a second
        (replace(GPU, job=replace(GPU.job, images=10**6)), None, 900),
        (CPU, None, 10),
        (CPU, Change(kind="saving", flags="", site={"save_steps": 50}), 50),
        (replace(CPU, job=replace(CPU.job, save_steps=None, save_minutes=0.1)), None, 11),  # 6 s, steps of 0.55 s
    ],
)
def test_a_checkpoint_comes_by_count_by_clock_or_at_an_epochs_end(
    figures: Figures, change: Change | None, steps: int
) -> None:
    assert model.interval(figures, change) == steps


def test_a_checkpoint_that_takes_long_to_write_puts_the_next_one_off() -> None:
    assert CPU.saving
    slow = replace(CPU, saving=replace(CPU.saving, write_s=10.9))
    assert model.interval(slow) == 20  # steps of 0.55 s


def test_a_checkpoint_costs_its_hold_and_where_all_cores_are_busy_its_writes_cpu_time() -> None:
    assert model.checkpoint_s(GPU) == pytest.approx(0.01)  # six of eight cores are idle
    # in 10 steps both take 10 s of CPU time, and the write 0.6 s: 0.3 s of two cores, with friction 0.33 s
    assert model.checkpoint_s(CPU) == pytest.approx(0.1 + 0.33)
    assert CPU.saving
    assert model.checkpoint_s(replace(CPU, saving=replace(CPU.saving, cost_s=0.7))) == 0.7  # seen counts
    assert model.checkpoint_s(replace(CPU, saving=None)) == 0


def test_training_is_steps_and_their_checkpoints() -> None:
    assert model.images_per_s(GPU) == pytest.approx(1000 / 10.01)
    assert model.images_per_s(CPU) == pytest.approx(1000 / 5.93)
    more = Change(kind="threads", flags="", site={"threads": 4})
    assert model.images_per_s(GPU, more) == pytest.approx(1000 / 5.01)


def test_an_epoch_is_made_of_steps_evaluation_and_checkpoints() -> None:
    found = model.epoch(CPU)
    assert found.training_s == pytest.approx(55)
    assert found.waiting_s == pytest.approx(25)
    assert found.evaluation_s == pytest.approx(4)
    assert found.checkpoints_s == pytest.approx(10 * 0.43)  # each tenth of 100 steps, the last at the epoch's end
    assert found.seconds == pytest.approx(63.3)
    assert found.images_per_s == pytest.approx(10_000 / 63.3)


def test_two_processes_share_an_epoch() -> None:
    two = replace(GPU, place=replace(GPU.place, world_size=2))
    assert model.epoch(two).training_s == pytest.approx(5)
    assert model.images_per_s(two) == pytest.approx(1000 / (10 * 0.5 + 0.01))


@pytest.mark.parametrize(
    ("figures", "bound", "share"),
    [
        (GPU, "loader", 0.5),
        (CPU, "cpu", 25 / 55),
        (replace(CPU, place=replace(CPU.place, threads=1), load=Pace(0.0055, 0.0045)), "loader", 25 / 55),
        (replace(GPU, load=Pace(0.001, 0.002), together=Pace(0.0051, 0.003)), "step", 0.005 / 0.0051),
        (replace(GPU, together=Pace(0.005, 0.021), passes=Passes(0.002, 0.15, (50, 100))), "passes", 0.6),
        (
            replace(
                GPU,
                together=Pace(0.005, 0.021),
                reduction=Reduction(seconds=0.2, half_s=0.1, bytes=1, exposed_s=0.1),
            ),
            "reduction",
            0.2,
        ),
    ],
)
def test_what_takes_most_beside_the_step_bounds_the_run(figures: Figures, bound: str, share: float) -> None:
    found = model.diagnosis(figures)
    assert (found.bound, found.share) == (bound, pytest.approx(share))


def test_checkpoints_bound_a_run_that_hardly_does_anything_else() -> None:
    assert CPU.saving
    often = replace(CPU, together=Pace(0.003, 0.011), saving=replace(CPU.saving, cost_s=3.0))
    found = model.diagnosis(often)
    assert found.bound == "checkpoints"
    assert found.share == pytest.approx(30 / (30 + 30 + 4))

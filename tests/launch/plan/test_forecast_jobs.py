import pytest

from data.plan.config import InputConfig
from launch.plan.config import PlanConfig
from launch.plan.forecast import TooShortError, gpu_counts
from tests.launch.plan.forecasts import PLENTY, forecast
from trainer.optim.config import EmaConfig, SgdConfig
from trainer.recipe.config import Recipe

TEN_STEPS = {"train_images": 1050, "val_images": 300, "startup_s": 8.0, "queue_minutes": 1.0}


def recipe(**changes: object) -> Recipe:
    return Recipe(**{"epochs": 10, "global_batch": 100, "micro_batch": 100, **changes})  # type: ignore[arg-type]


def test_hours_from_steps_evaluations_checkpoints_and_jobs() -> None:
    planned = forecast(recipe=recipe(), parameters=100_000_000, hours=1 / 60, **TEN_STEPS).run(1)
    assert planned.steps == 10  # of a second; 50 images are left over
    assert planned.evaluation_s == pytest.approx(1.0)  # 300 forward passes, each a third of 10 ms
    assert planned.checkpoint_bytes == 800_000_000  # weights and momenta
    assert (planned.stall_s, planned.write_s) == (0.1, 2.0)
    assert planned.epoch_s == pytest.approx(11.1)
    # 111 s of work in jobs of 60 s, each with 8 s to start and 2 s to save
    assert planned.requeues == 2
    assert planned.gpu_hours == pytest.approx((111 + 3 * 10) / 3600)
    assert planned.hours == pytest.approx((111 + 3 * 10 + 2 * 60) / 3600)


def test_gpu_hours_count_every_gpu() -> None:
    planned = forecast(train_images=8000, val_images=0, recipe=recipe(global_batch=800)).run(8)
    assert planned.requeues == 0
    assert planned.gpu_hours == pytest.approx(8 * planned.hours)


def test_the_images_that_are_left_over_may_make_a_step() -> None:
    whole = recipe(input=InputConfig(drop_last=False))
    assert forecast(recipe=whole, **TEN_STEPS).run(1).steps == 11


def test_checkpoints_by_the_clock_come_beside_those_of_epochs() -> None:
    often = forecast(recipe=recipe(), parameters=100_000_000, save_minutes=5 / 60, **TEN_STEPS).run(1)
    assert often.epoch_s == pytest.approx(11 + 3 * 0.1)  # after 5 s, after 10 s, and after the evaluation


def test_an_average_is_evaluated_and_saved_too() -> None:
    averaged = recipe(ema=EmaConfig(decay=0.999), optimizer=SgdConfig(momentum=0.0))
    planned = forecast(recipe=averaged, **TEN_STEPS).run(1)
    assert planned.evaluation_s == pytest.approx(2.0)
    assert planned.checkpoint_bytes == 800_000_000  # weights twice, no momenta


def test_a_slow_loader_bounds_the_evaluation() -> None:
    planned = forecast(recipe=recipe(), cores=5, cpus_per_process=10, **TEN_STEPS).run(1)
    assert planned.evaluation_s == pytest.approx(300 * 3.14 / 1.66 / 50)


def test_smaller_images_are_evaluated_faster() -> None:
    half = recipe(input=InputConfig(train_size=224, eval_resize=128, eval_crop=112))
    assert forecast(recipe=half, cores=PLENTY, **TEN_STEPS).run(1).evaluation_s == pytest.approx(0.25)


def test_a_limit_without_time_to_train_is_refused() -> None:
    with pytest.raises(TooShortError, match=r"--hours: 0.001 are 4 s, but a job's start .* take 9 s"):
        forecast(recipe=recipe(), parameters=1, hours=0.001, **TEN_STEPS).run(1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PlanConfig(), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]),
        (PlanConfig(gpus_per_node=6, nodes=3), [1, 2, 4, 6, 12, 18, 24, 48, 96, 192, 384, 768]),
        (PlanConfig(gpus_per_node=1, nodes=1000), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1024]),
    ],
)
def test_rows_double_within_a_node_and_then_nodes(config: PlanConfig, expected: list[int]) -> None:
    assert gpu_counts(config) == expected

import pytest

from trainer.config import CosineScheduleConfig, Recipe, SgdConfig, StepScheduleConfig
from trainer.schedule import learning_rate


def curve(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    return [learning_rate(recipe, step, steps_per_epoch) for step in range(recipe.epochs * steps_per_epoch)]


def test_step_schedule_divides_at_the_first_step_of_each_milestone() -> None:
    recipe = Recipe(epochs=4, optimizer=SgdConfig(lr=0.1), schedule=StepScheduleConfig(milestones=(1, 3), gamma=0.1))
    assert curve(recipe, 2) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_warm_up_rises_by_equal_steps_and_meets_the_peak_at_the_first_step_after_it() -> None:
    recipe = Recipe(
        epochs=2, optimizer=SgdConfig(lr=0.5), schedule=StepScheduleConfig(milestones=(9,), warmup_epochs=1)
    )
    assert curve(recipe, 4) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5])


def test_cosine_starts_at_the_peak_passes_the_middle_and_would_end_at_the_final_lr() -> None:
    recipe = Recipe(epochs=1, optimizer=SgdConfig(lr=1.0), schedule=CosineScheduleConfig(final_lr=0.2))
    assert curve(recipe, 4) == pytest.approx([1.0, 0.8828427, 0.6, 0.3171573])
    assert learning_rate(recipe, 4, 4) == pytest.approx(0.2)


def test_cosine_begins_after_warm_up() -> None:
    recipe = Recipe(epochs=2, optimizer=SgdConfig(lr=1.0), schedule=CosineScheduleConfig(warmup_epochs=1))
    assert curve(recipe, 2) == pytest.approx([1 / 3, 2 / 3, 1.0, 0.5])


def test_warm_up_may_be_part_of_an_epoch() -> None:
    recipe = Recipe(
        epochs=1, optimizer=SgdConfig(lr=1.0), schedule=StepScheduleConfig(milestones=(9,), warmup_epochs=0.5)
    )
    assert curve(recipe, 4) == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])

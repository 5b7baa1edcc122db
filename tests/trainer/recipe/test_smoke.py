from dataclasses import replace
from pathlib import Path

import pytest

from trainer.optim.config import CosineScheduleConfig, PiecewiseScheduleConfig, StepScheduleConfig
from trainer.recipe import recipes, smoke
from trainer.recipe.checks import recipe_problems
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import range_problems
from trainer.recipe.schedule import learning_rate

SITE = SiteConfig(data=Path("data"), output=Path("out"), smoke=True)
STEPS = smoke.EPOCHS * smoke.STEPS


def rates(recipe: Recipe) -> list[float]:
    """The learning rate of each step, as a share of the highest."""
    found = [learning_rate(recipe, step, smoke.STEPS) for step in range(recipe.epochs * smoke.STEPS)]
    return [rate / max(found) for rate in found]


def test_without_the_flag_a_recipe_stays_as_it_is() -> None:
    recipe = recipes.load("resnet50")
    assert smoke.tried(recipe, replace(SITE, smoke=False)) is recipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_tried_and_to_try_it_twice_changes_nothing(name: str) -> None:
    tried = smoke.tried(recipes.load(name), SITE)
    assert tried.epochs <= smoke.EPOCHS
    assert [*range_problems(tried), *recipe_problems(tried)] == []
    assert smoke.tried(tried, SITE) == tried
    assert (tried.global_batch, tried.micro_batch, tried.model) == (
        (whole := recipes.load(name)).global_batch,
        whole.micro_batch,
        whole.model,
    )


def test_each_phase_of_a_step_schedule_comes() -> None:
    recipe = Recipe(epochs=90, schedule=StepScheduleConfig(milestones=(30, 60, 80), warmup_epochs=11.25))
    assert rates(smoke.tried(recipe, SITE)) == pytest.approx([0.5, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_points_and_warm_up_in_steps_keep_their_place() -> None:
    points = PiecewiseScheduleConfig(points=(0, 8, 16), factors=(0, 1, 0))
    assert rates(smoke.tried(Recipe(epochs=16, schedule=points), SITE)) == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    )
    steps = CosineScheduleConfig(warmup_steps=10_000)
    tried = smoke.tried(Recipe(epochs=300, schedule=steps), SITE)
    assert tried.schedule.warmup_steps == 4


def test_a_rate_of_each_epoch_changes_at_each_step() -> None:
    timm = CosineScheduleConfig(warmup_epochs=25, warmup_lr=0.01, final_lr=0.001, warmup="timm", by="epoch")
    tried = smoke.tried(Recipe(epochs=100, schedule=timm), SITE)
    assert rates(tried)[:3] == pytest.approx([0.1 / 0.8549, 0.55 / 0.8549, 1], rel=1e-3)


def test_growing_images_reach_both_their_sizes() -> None:
    base = recipes.load("resnet50_fast88")
    begin, end = smoke.tried(base, SITE).input.growth_epochs
    assert 0 < begin < end < smoke.EPOCHS
    assert smoke.tried(base, SITE).input.start_size == base.input.start_size


def test_rates_that_two_steps_of_warm_up_could_not_bear_are_lowered() -> None:
    recipe = Recipe(
        optimizer=replace(Recipe().optimizer, lr=2.0, base_batch=128),
        schedule=CosineScheduleConfig(final_lr=0.4),
        global_batch=256,
    )
    tried = smoke.tried(recipe, SITE)
    assert learning_rate(tried, 0, smoke.STEPS) == pytest.approx(smoke.HIGHEST_LR)
    assert isinstance(tried.schedule, CosineScheduleConfig)
    assert tried.schedule.final_lr == pytest.approx(smoke.HIGHEST_LR / 10)


def test_an_average_is_updated_and_as_many_images_are_taken_as_two_steps_need() -> None:
    recipe = Recipe(ema=replace(Recipe().ema, decay=0.9, every=32), precise_bn=50_000, global_batch=96)
    tried = smoke.tried(recipe, SITE)
    assert (tried.ema.every, tried.precise_bn) == (2, 768)
    assert (smoke.images(tried, "train"), smoke.images(tried, "val")) == (768, 256)

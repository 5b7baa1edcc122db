from dataclasses import replace

import pytest

from data.config import InputConfig
from trainer.config import CosineScheduleConfig, Recipe, SgdConfig, StepScheduleConfig, recipe_problems, world_problems


@pytest.mark.parametrize(
    ("whole", "micro", "world", "mend"),
    [
        (256, 32, 8, None),
        (256, 32, 1, None),
        (256, 32, 16, "--micro-batch 16"),
        (256, 32, 6, "a --global-batch divisible by 6"),
        (96, 32, 2, "--micro-batch 24"),
    ],
)
def test_a_global_batch_must_be_dealt_out_evenly(whole: int, micro: int, world: int, mend: str | None) -> None:
    found = world_problems(Recipe(global_batch=whole, micro_batch=micro), world)
    assert [problem.split("; use ")[1] for problem in found] == ([mend] if mend else [])


@pytest.mark.parametrize(
    ("recipe", "path"),
    [
        (Recipe(epochs=3, schedule=CosineScheduleConfig(warmup_epochs=4)), "schedule.warmup_epochs"),
        (Recipe(schedule=StepScheduleConfig(milestones=(60, 30))), "schedule.milestones"),
        (Recipe(global_batch=100, micro_batch=32), "micro_batch"),
        (Recipe(input=InputConfig(eval_crop=300, eval_resize=256)), "input.eval_crop"),
        (Recipe(input=InputConfig(crop_area=(0.5, 0.1))), "input.crop_area"),
        (Recipe(optimizer=SgdConfig(nesterov=True, momentum=0)), "optimizer.nesterov"),
        (Recipe(model=replace(Recipe().model, in_channels=1)), "model.in_channels"),
    ],
)
def test_fields_that_do_not_fit_together_are_named(recipe: Recipe, path: str) -> None:
    assert [problem.split(":")[0] for problem in recipe_problems(recipe)] == [path]

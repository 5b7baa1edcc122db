"""Learning rate as a pure function of the optimizer step."""

import math
from bisect import bisect_right

from trainer.config import CosineScheduleConfig, Recipe, StepScheduleConfig


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step `step`, counted from 0.

    During warm-up it rises linearly, reaching the peak at the first step after it (1706.02677, section 2.2).
    """
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if isinstance(schedule, StepScheduleConfig):
        return _step(schedule, peak, step / steps_per_epoch)
    return _cosine(schedule, peak, (step - warmup) / (recipe.epochs * steps_per_epoch - warmup))


def _step(schedule: StepScheduleConfig, peak: float, epoch: float) -> float:
    return peak * schedule.gamma ** bisect_right(schedule.milestones, epoch)


def _cosine(schedule: CosineScheduleConfig, peak: float, progress: float) -> float:
    """Progress runs from 0 at the first step after warm-up to 1 after the last step."""
    return schedule.final_lr + (peak - schedule.final_lr) * (1 + math.cos(math.pi * progress)) / 2

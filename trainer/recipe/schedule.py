"""Learning rate as a pure function of the optimizer step."""

import math
from bisect import bisect_right

from trainer.optim.config import (
    AnySchedule,
    ConstantScheduleConfig,
    CosineScheduleConfig,
    LinearScheduleConfig,
    PiecewiseScheduleConfig,
    PolynomialScheduleConfig,
    StepScheduleConfig,
)
from trainer.recipe.config import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step `step`, counted from 0.

    During warm-up it rises linearly (1706.02677, section 2.2). What comes then ends with the run; milestones and points
    are counted from the run's start.

    Reference:
        timm/scheduler/cosine_lr.py; facebookresearch/ConvNeXt, utils.py, cosine_scheduler.
    """
    schedule, top = recipe.schedule, peak(recipe)
    if schedule.by == "epoch":
        step -= step % steps_per_epoch
    warmup = schedule.warmup_steps or schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return _warming_up(schedule, top, step, warmup)
    before = 0 if schedule.warmup == "timm" else warmup
    progress = (step - before) / (recipe.epochs * steps_per_epoch - before)
    return _after_warmup(schedule, top, step / steps_per_epoch, progress)


def peak(recipe: Recipe) -> float:
    """The highest learning rate of the run, scaled as the recipe says (1706.02677, section 2.1)."""
    lr, base = recipe.optimizer.lr, recipe.optimizer.base_batch
    return lr if base is None else lr * recipe.global_batch / base


def _warming_up(schedule: AnySchedule, top: float, step: int, warmup: float) -> float:
    """On a line to the peak at step `warmup`, or with convnext one step earlier."""
    last, start = (warmup - 1 if schedule.warmup == "convnext" else warmup), schedule.warmup_lr
    if start is None:
        return top * (step + 1) / (last + 1)
    return start + (top - start) * step / last if last > 0 else top


def _after_warmup(schedule: AnySchedule, top: float, epoch: float, progress: float) -> float:
    """Progress runs from 0 at the first step after warm-up to 1 after the last step."""
    match schedule:
        case StepScheduleConfig():
            return top * schedule.gamma ** bisect_right(schedule.milestones, epoch)
        case CosineScheduleConfig():
            return schedule.final_lr + (top - schedule.final_lr) * (1 + math.cos(math.pi * progress)) / 2
        case LinearScheduleConfig():
            return schedule.final_lr + (top - schedule.final_lr) * (1 - progress)
        case ConstantScheduleConfig():
            return top
        case PolynomialScheduleConfig():
            return schedule.final_lr + (top - schedule.final_lr) * (1 - progress) ** schedule.power
        case PiecewiseScheduleConfig():
            return top * _interpolated(schedule, epoch)


def _interpolated(schedule: PiecewiseScheduleConfig, epoch: float) -> float:
    points, factors = schedule.points, schedule.factors
    after = bisect_right(points, epoch)
    if after == len(points):
        return factors[-1]
    share = (epoch - points[after - 1]) / (points[after] - points[after - 1])
    return factors[after - 1] + (factors[after] - factors[after - 1]) * share

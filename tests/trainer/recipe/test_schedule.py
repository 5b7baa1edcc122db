import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, PolynomialLR, SequentialLR

from trainer.optim.config import (
    AnySchedule,
    ConstantScheduleConfig,
    CosineScheduleConfig,
    LinearScheduleConfig,
    PiecewiseScheduleConfig,
    PolynomialScheduleConfig,
    SgdConfig,
    StepScheduleConfig,
)
from trainer.recipe.config import Recipe
from trainer.recipe.schedule import learning_rate, peak


def recipe(schedule: AnySchedule, epochs: int, lr: float = 1.0) -> Recipe:
    return Recipe(epochs=epochs, optimizer=SgdConfig(lr=lr), schedule=schedule)


def curve(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    return [learning_rate(recipe, step, steps_per_epoch) for step in range(recipe.epochs * steps_per_epoch)]


def test_step_schedule_divides_at_the_first_step_of_each_milestone() -> None:
    found = curve(recipe(StepScheduleConfig(milestones=(1, 3), gamma=0.1), 4, lr=0.1), 2)
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_milestones_are_counted_from_the_run_s_start_and_not_from_the_end_of_warm_up() -> None:
    found = curve(recipe(StepScheduleConfig(milestones=(2,), gamma=0.1, warmup_epochs=1), 3), 2)
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (CosineScheduleConfig(final_lr=0.2), [1.0, 0.8828427, 0.6, 0.3171573, 0.2]),
        (LinearScheduleConfig(final_lr=0.2), [1.0, 0.8, 0.6, 0.4, 0.2]),
        (PolynomialScheduleConfig(final_lr=0.2), [1.0, 0.65, 0.4, 0.25, 0.2]),  # 0.2 + 0.8 (1, 9/16, 1/4, 1/16, 0)
        (PolynomialScheduleConfig(final_lr=0.2, power=0.5), [1.0, 0.8928203, 0.7656854, 0.6, 0.2]),
        (ConstantScheduleConfig(), [1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_a_curve_starts_at_the_peak_and_would_end_at_the_final_lr(schedule: AnySchedule, expected: list[float]) -> None:
    found = recipe(schedule, 1)
    assert [learning_rate(found, step, 4) for step in range(5)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (CosineScheduleConfig(warmup_epochs=1), [1 / 3, 2 / 3, 1.0, 0.5]),
        (LinearScheduleConfig(warmup_epochs=1), [1 / 3, 2 / 3, 1.0, 0.5]),
        (PolynomialScheduleConfig(warmup_epochs=1), [1 / 3, 2 / 3, 1.0, 0.25]),
        (ConstantScheduleConfig(warmup_epochs=1), [1 / 3, 2 / 3, 1.0, 1.0]),
        (LinearScheduleConfig(warmup_steps=1), [0.5, 1.0, 2 / 3, 1 / 3]),
        (LinearScheduleConfig(warmup_epochs=0.5), [0.5, 1.0, 2 / 3, 1 / 3]),
        (ConstantScheduleConfig(warmup_steps=3), [0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_warm_up_rises_by_equal_steps_and_meets_the_peak_at_the_first_step_after_it(
    schedule: AnySchedule, expected: list[float]
) -> None:
    assert curve(recipe(schedule, 2), 2) == pytest.approx(expected)


def test_piecewise_goes_straight_from_point_to_point_and_then_holds() -> None:
    schedule = PiecewiseScheduleConfig(points=(0, 1, 2.5), factors=(0.2, 1.0, 0.1))
    expected = [0.1, 0.3, 0.5, 0.35, 0.2, 0.05, 0.05, 0.05]
    assert curve(recipe(schedule, 4, lr=0.5), 2) == pytest.approx(expected)


def test_one_point_is_a_constant() -> None:
    schedule = PiecewiseScheduleConfig(points=(0,), factors=(0.5,))
    assert curve(recipe(schedule, 2), 1) == [0.5, 0.5]


def test_the_peak_is_scaled_only_where_the_recipe_says_for_how_many_images_it_stands() -> None:
    assert peak(Recipe(global_batch=4096, optimizer=SgdConfig(lr=0.1))) == 0.1
    scaled = Recipe(
        global_batch=4096, optimizer=SgdConfig(lr=0.1, base_batch=256), schedule=LinearScheduleConfig(), epochs=2
    )
    assert peak(scaled) == pytest.approx(1.6)
    assert curve(scaled, 1) == pytest.approx([1.6, 0.8])


def cosine(optimizer: SGD, steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, steps)


def polynomial(optimizer: SGD, steps: int) -> LRScheduler:
    return PolynomialLR(optimizer, steps, power=2.0)


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (CosineScheduleConfig(warmup_epochs=2), cosine),
        (PolynomialScheduleConfig(warmup_epochs=2), polynomial),
    ],
)
def test_a_run_has_the_learning_rates_of_torch_s_schedulers(
    schedule: AnySchedule, theirs: Callable[[SGD, int], LRScheduler]
) -> None:
    """torch's warm-up is given the factor of its first step, 1 / 7."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    warmup = LinearLR(optimizer, start_factor=1 / 7, total_iters=6)
    scheduler = SequentialLR(optimizer, [warmup, theirs(optimizer, 24)], milestones=[6])
    expected = list[float]()
    for _ in range(30):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert curve(recipe(schedule, 10, lr=0.5), 3) == pytest.approx(expected)


def of_timm(steps: int, *, by_epoch: bool, prefix: bool) -> list[float]:
    """timm's own over six epochs of four updates, two of them of warm-up, as timm's and Swin's scripts make it."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    unit = 1 if by_epoch else 4
    scheduler = CosineLRScheduler(
        optimizer,
        t_initial=(4 if prefix else 6) * unit,
        lr_min=0.01,
        warmup_t=2 * unit,
        warmup_lr_init=0.001,
        warmup_prefix=prefix,
        t_in_epochs=by_epoch,
    )
    rates = list[float]()
    for step in range(steps):
        scheduler.step(step // 4)
        scheduler.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_cosines_are_those_of_timm(by_epoch: bool, prefix: bool) -> None:
    ours = CosineScheduleConfig(
        warmup_epochs=2,
        warmup_lr=0.001,
        final_lr=0.01,
        warmup=None if prefix else "timm",
        by="epoch" if by_epoch else None,
    )
    expected = of_timm(24, by_epoch=by_epoch, prefix=prefix)
    assert curve(recipe(ours, 6, lr=0.5), 4) == pytest.approx(expected, rel=1e-12)


def test_a_cosine_is_that_of_convnext() -> None:
    """utils.py, cosine_scheduler(0.5, 0.01, 6, 4, warmup_epochs=2): linspace(0, base_value, 8), then the rest."""
    rest = [0.01 + 0.5 * (0.5 - 0.01) * (1 + math.cos(math.pi * i / 16)) for i in range(16)]
    ours = CosineScheduleConfig(warmup_epochs=2, warmup_lr=0.0, final_lr=0.01, warmup="convnext")
    assert curve(recipe(ours, 6, lr=0.5), 4) == pytest.approx([*np.linspace(0, 0.5, 8), *rest], rel=1e-12)


def test_a_cosine_is_that_of_big_vision() -> None:
    """utils.py, create_learning_rate_schedule: progress to 0 .. 1 behind the warm-up, times min(1, step / warmup)."""
    progress = np.clip((np.arange(24) - 5) / (24 - 5), 0, 1)
    expected = 0.5 * 0.5 * (1 + np.cos(np.pi * progress)) * np.minimum(1, np.arange(24) / 5)
    ours = CosineScheduleConfig(warmup_steps=5, warmup_lr=0.0)
    assert curve(recipe(ours, 6, lr=0.5), 4) == pytest.approx(expected.tolist(), rel=1e-12)


def test_one_step_of_warm_up_divides_by_nothing() -> None:
    assert curve(recipe(ConstantScheduleConfig(warmup_steps=1, warmup_lr=0.1), 1), 2) == [0.1, 1.0]
    assert curve(recipe(ConstantScheduleConfig(warmup_steps=1, warmup_lr=0.1, warmup="convnext"), 1), 2) == [1.0, 1.0]

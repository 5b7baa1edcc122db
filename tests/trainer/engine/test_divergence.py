import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.engines import RECIPE, built
from trainer import metrics
from trainer.checkpoint import store
from trainer.engine.divergence import DivergedError, check, diverged
from trainer.engine.fit import Fit
from trainer.optim.config import SgdConfig, StepScheduleConfig

SUMS = torch.ones(metrics.FIELDS, dtype=torch.float64)


@pytest.fixture(scope="module")
def parts(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fit]:
    """A run of 4 steps an epoch, whose rate rises by a quarter of 0.4 a step and falls to a tenth after an epoch."""
    schedule = StepScheduleConfig(warmup_steps=3, milestones=(1.0,), gamma=0.1)
    recipe = replace(RECIPE, optimizer=SgdConfig(lr=0.4), schedule=schedule, max_skipped=2)
    with built(images, tmp_path_factory.mktemp("run"), recipe) as ready:
        yield ready


def faults(step: float, count: int) -> torch.Tensor:
    return torch.tensor([-step, count], dtype=torch.float64)


@pytest.mark.parametrize(
    ("step", "lr"),
    [(0, "0.1"), (1, "0.1"), (2, "0.2"), (3, "0.3"), (4, "0.4"), (5, "0.04"), (8, "0.04")],
)
def test_the_message_has_the_learning_rate_of_the_step_that_is_named(step: int, lr: str, parts: Fit) -> None:
    """Steps count from 1; before the first, whose weights are the initial ones, there was none yet."""
    message = str(diverged(parts, "the loss is nan", step))
    assert message.startswith(f"the loss is nan; training has diverged, first at step {step}, learning rate {lr}\n")
    assert "last good checkpoint: none yet" in message


def test_faults_are_borne_up_to_the_recipe_s_number(parts: Fit) -> None:
    assert check(parts, SUMS, faults(math.inf, 0), 4) == 0
    assert check(parts, SUMS, faults(3, 2), 4) == 2
    with pytest.raises(DivergedError, match=r"for the 3th time the loss or gradient is not a finite .* at step 3, "):
        check(parts, SUMS, faults(3, 3), 4)


def test_without_tolerance_the_first_fault_ends_it_and_the_step_of_the_fault_is_named(parts: Fit) -> None:
    strict = replace(parts, context=replace(parts.context, recipe=replace(parts.context.recipe, max_skipped=0)))
    with pytest.raises(DivergedError, match=r"^the loss is not a finite number; .* first at step 2, learning rate 0.2"):
        check(strict, SUMS, faults(2, 1), 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", range(metrics.FIELDS))
def test_sums_that_are_not_finite_end_it_at_the_newest_step(field: int, value: float, parts: Fit) -> None:
    sums = SUMS.clone()
    sums[field] = value
    with pytest.raises(DivergedError, match=r"^the loss is not a finite number; .* first at step 3, learning rate 0.3"):
        check(parts, sums, faults(math.inf, 0), 3)


def test_the_checkpoint_to_go_back_to_is_named(parts: Fit) -> None:
    folder = parts.context.run.checkpoints
    for step in (4, 8):
        store.write(folder, step, {"model": {"w": torch.zeros(1)}, "about": {"model": "none"}, "step": step})
    (folder / "step-0000000008" / "state.pt").unlink()
    assert str(diverged(parts, "x", 9)).endswith(f"last good checkpoint: {folder / 'step-0000000004'}")

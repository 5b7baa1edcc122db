import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.telemetry import watched
from trainer.engine import build
from trainer.engine.meter import Meter
from trainer.engine.step import Normalize, TrainStep
from trainer.world import World

MULTIPLY_ADDS = 40.55e6  # of ResNet-20 at 32 px: models/table.py


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Meter, build.TrainState, TrainStep]:
    context = watched.context(tmp_path)
    state = build.train_state(context.recipe, context.site, context.runtime)
    normalize = Normalize(context.recipe.input, context.runtime.device, channels_last=True)
    step = TrainStep(context.runtime, state.model, state, normalize, context.recipe)
    return Meter(context, watched.plan(context), step, state), state, step


def test_pace_is_images_and_arithmetic_over_the_time_since_the_last_lap(
    parts: tuple[Meter, build.TrainState, TrainStep],
) -> None:
    meter, state, step = parts
    state.step, before = 3, time.perf_counter()
    meter.restart()
    time.sleep(0.2)
    state.step = 5
    step.phases.begin("other")
    pace = meter.cut()()
    assert 0.1 <= pace.step_s <= (time.perf_counter() - before) / 2
    assert pace.images_per_s == pytest.approx(watched.RECIPE.global_batch / pace.step_s)
    assert pace.images_per_s_per_device == pace.images_per_s
    assert pace.tflops_per_s == pytest.approx(pace.images_per_s * 6 * MULTIPLY_ADDS / 1e12, rel=0.02)
    assert pace.mfu is None or math.isfinite(pace.mfu)


def test_the_arithmetic_is_that_of_one_of_two_processes_and_of_the_newest_step_s_size(tmp_path: Path) -> None:
    """Images grow with the second epoch: the last step of the first is looked at, and the one after it."""
    growing = replace(watched.RECIPE.input, train_size=64, start_size=32, growth_epochs=(0.0, 1.0))
    context = watched.context(tmp_path, replace(watched.RECIPE, input=growing, micro_batch=4))
    context.runtime.world = World(0, 2, 0, 2, port=1, launcher="torchrun")
    state = build.train_state(context.recipe, context.site, context.runtime)
    normalize = Normalize(context.recipe.input, context.runtime.device, channels_last=True)
    step = TrainStep(context.runtime, state.model, state, normalize, context.recipe)
    plan = watched.plan(context)
    assert [plan.side_at(*divmod(number, watched.STEPS)) for number in (9, 10)] == [32, 64]
    meter = Meter(context, plan, step, state)
    for newest, times in ((watched.STEPS, 1), (watched.STEPS + 1, 4)):
        state.step = newest
        step.phases.begin("other")
        pace = meter.cut()()
        assert pace.images_per_s_per_device == pytest.approx(pace.images_per_s / 2)
        assert pace.tflops_per_s == pytest.approx(pace.images_per_s / 2 * 6 * times * MULTIPLY_ADDS / 1e12, rel=0.02)


def test_the_norm_of_the_weights_is_that_of_all_together(parts: tuple[Meter, build.TrainState, TrainStep]) -> None:
    meter, state, step = parts
    with torch.no_grad():
        for weight in state.model.parameters():
            weight.fill_(0.5)
    count = sum(weight.numel() for weight in state.model.parameters())
    learning = meter.learning(0.1, meter.norms().tolist())
    assert learning.weight_norm == pytest.approx(0.5 * math.sqrt(count), rel=1e-4)
    assert (learning.lr, learning.gradient_norm, learning.loss_scale) == (0.1, None, None)
    step.gradient_norm = torch.tensor(2.5)
    assert meter.learning(0.1, meter.norms().tolist()).gradient_norm == 2.5
    step.gradient_norm = torch.tensor(torch.inf)  # of a step that was passed over
    assert meter.learning(0.1, meter.norms().tolist()).gradient_norm is None


def test_a_point_has_the_loss_scale_of_its_own_step(tmp_path: Path) -> None:
    context = watched.context(tmp_path, replace(watched.RECIPE, precision="fp16"))
    state = build.train_state(context.recipe, context.site, context.runtime)
    normalize = Normalize(context.recipe.input, context.runtime.device, channels_last=True)
    step = TrainStep(context.runtime, state.model, state, normalize, context.recipe)
    meter = Meter(context, watched.plan(context), step, state)
    measured = meter.norms()
    assert state.scaler.is_enabled()
    state.scaler.update(new_scale=8.0)
    assert meter.learning(0.1, measured.tolist()).loss_scale == 65536
    assert meter.learning(0.1, meter.norms().tolist()).loss_scale == 8

"""Measurements for a log point: speed, arithmetic and norms."""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from data.plan.plan import TrainPlan
from models import trace
from trainer.context import RunContext
from trainer.engine.state import TrainState
from trainer.engine.step import TrainStep
from trainer.engine.stragglers import Stragglers, own_s
from trainer.telemetry.device import peak_tflops
from trainer.telemetry.phases import Lap
from trainer.telemetry.point import Learning, Pace

OPERATIONS = 6
"""Floating-point operations of training for each multiply-add of a forward pass: two forward, four backward."""


NORMS = 3

_cost = cache(trace.cost)


class Meter:
    """Measures the steps of this process between two log points."""

    def __init__(self, context: RunContext, plan: TrainPlan, step: TrainStep, state: TrainState) -> None:
        self._setup, self._plan, self._train_step, self._state = context, plan, step, state
        on_gpu = context.runtime.device.type == "cuda"
        device = torch.cuda.get_device_name(context.runtime.device) if on_gpu else ""
        self._peak = peak_tflops(device, context.recipe.precision)
        self.stragglers, self.own_s = Stragglers(), 0.0  # of the last lap, as its end is behind the exchange of figures
        self.restart()

    def restart(self) -> None:
        """Measure from now on."""
        self._step = self._state.step
        self._train_step.phases.restart()

    def cut(self) -> Callable[[], Pace]:
        """End a lap: a function that returns its pace, once the device is there."""
        first, last, lap = self._step, self._state.step, self._train_step.phases.cut()
        self._step = last
        return lambda: self._pace(first, last, lap())

    def norms(self) -> Tensor:
        """(NORMS,) float64 on the device: of all weights, of the gradient or NaN if not measured; the loss scale."""
        weights = get_total_norm([weight.detach() for weight in self._state.model.parameters()])
        gradient = self._train_step.gradient_norm
        if gradient is None:
            gradient = torch.full_like(weights, math.nan)
        scale = self._setup.runtime.scaler.scale(torch.ones_like(weights))  # get_scale would wait for a GPU
        return torch.stack([weights, gradient, scale]).double()

    def learning(self, lr: float, norms: Sequence[float]) -> Learning:
        """What `norms` gave after a step with this learning rate."""
        weights, gradient, scale = norms
        return Learning(
            lr=lr,
            weight_norm=weights,
            gradient_norm=gradient if math.isfinite(gradient) else None,  # as in a skipped step
            loss_scale=scale if self._setup.runtime.scaler.is_enabled() else None,
        )

    def _pace(self, first: int, last: int, lap: Lap) -> Pace:
        plan, seconds = self._plan, lap.seconds or math.nan
        images = plan.images_seen(last) - plan.images_seen(first)
        size = plan.side_at(*divmod(last - 1, plan.steps_per_epoch))
        each = images / seconds / self._setup.runtime.world.world_size
        step_s = seconds / (last - first)
        self.own_s = own_s(lap, step_s)
        return Pace(
            step_s=step_s,
            images_per_s=images / seconds,
            images_per_s_per_device=each,
            tflops_per_s=each * OPERATIONS * _cost(self._setup.recipe.model, size) / 1e12,
            peak_tflops_per_s=self._peak,
            lap=lap,
        )

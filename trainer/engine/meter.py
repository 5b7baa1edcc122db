"""Measurements for a log point: speed, arithmetic and norms."""

import time
from functools import cache

import torch
from torch.nn.utils import get_total_norm

from data.plan.plan import TrainPlan
from models import trace
from trainer.context import RunContext
from trainer.engine.state import TrainState
from trainer.engine.step import TrainStep
from trainer.engine.stragglers import Stragglers, own_s
from trainer.telemetry.device import peak_tflops
from trainer.telemetry.point import Learning, Pace

OPERATIONS = 6
"""Floating-point operations of training for each multiply-add of a forward pass: two forward, four backward."""


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
        self._step, self._time = self._state.step, time.perf_counter()
        self._train_step.phases.restart()

    def lap(self) -> tuple[Pace, float]:
        """The pace since the last call, and seconds a step; the host must have waited for the device."""
        now, step, plan = time.perf_counter(), self._state.step, self._plan
        steps, seconds = step - self._step, now - self._time
        images = plan.images_seen(step) - plan.images_seen(self._step)
        size = plan.side_at(*divmod(step - 1, plan.steps_per_epoch))
        self._step, self._time = step, now
        each = images / seconds / self._setup.runtime.world.world_size
        pace = Pace(
            images_per_s=images / seconds,
            images_per_s_per_device=each,
            tflops_per_s=each * OPERATIONS * _cost(self._setup.recipe.model, size) / 1e12,
            peak_tflops_per_s=self._peak,
            lap=self._train_step.phases.lap(),
        )
        self.own_s = own_s(pace.lap, seconds / steps)
        return pace, seconds / steps

    def learning(self, lr: float) -> Learning:
        """The weights and gradient after the newest step."""
        scaler = self._setup.runtime.scaler
        weights = [weight.detach() for weight in self._state.model.parameters()]
        gradient = self._train_step.gradient_norm
        return Learning(
            lr=lr,
            weight_norm=get_total_norm(weights).item(),  # sync
            gradient_norm=_finite(gradient),
            loss_scale=scaler.get_scale() if scaler.is_enabled() else None,
        )


def _finite(norm: torch.Tensor | None) -> float | None:
    """The norm; None if it is not finite, as in a skipped step."""
    return norm.item() if norm is not None and norm.isfinite() else None  # sync

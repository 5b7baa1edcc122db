"""Gradients on their way between processes."""

from time import perf_counter

import torch

from trainer.config import Recipe
from trainer.doctor import stretch
from trainer.doctor.figures import Pace, Reduction
from trainer.doctor.measures import Rig, stepped
from trainer.runtime import Runtime

_SUMS = 3


def reduction(rig: Rig, recipe: Recipe, step: Pace, images: float) -> tuple[Reduction | None, Pace]:
    """The sum of all gradients over the processes, and the step without it (collective).

    Args:
        rig: The run.
        recipe: The user's.
        step: As it is.
        images: Of one process in a step of the recipe.
    """
    runtime, weights = rig.runtime, rig.fit.state.model.parameters()
    if runtime.world.world_size == 1:
        return None, step
    count = sum(weight.numel() for weight in weights if weight.requires_grad)
    full, half = (_sum_s(runtime, count, dtype) for dtype in (torch.float32, torch.bfloat16))
    local = stepped(rig.way, rig.batch, rig.seconds)
    sent = 4 if recipe.gradient_compression == "none" else 2
    seconds = full if sent == 4 else half
    exposed = max(0.0, (step.seconds - local.seconds) * images)
    return Reduction(seconds=seconds, half_s=half, bytes=sent * count, exposed_s=exposed), local


def _sum_s(runtime: Runtime, count: int, dtype: torch.dtype) -> float:
    """Seconds of a sum of so many numbers over the processes, the least of a few (collective)."""
    numbers, taken = torch.zeros(count, dtype=dtype, device=runtime.device), list[float]()
    for _ in range(1 + _SUMS):
        runtime.wait()
        runtime.any(False)  # all begin together
        start = perf_counter()
        runtime.sum(numbers)
        runtime.wait()
        taken.append(perf_counter() - start)
    return stretch.agreed(runtime, min(taken[1:]))[0][0]

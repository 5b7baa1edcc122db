"""The length of a whole run: epochs, evaluations, checkpoints, jobs under a time limit. Standard library only."""

import math
from dataclasses import dataclass

from launch.plan.config import MOST_GPUS, PlanConfig
from launch.plan.network_size import checkpoint_bytes
from launch.plan.step_time import Forecast, Step

FORWARD = 1 / 3  # of a training image's time: the backward pass costs twice the forward pass
EVAL_DECODING = 3.14 / 1.66  # CPU time of an evaluation image to a training image: README.md, Data


class TooShortError(ValueError):
    """The time limit leaves a job no time to train; the message names the flag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """All epochs of a recipe on a number of GPUs."""

    step: Step
    steps: int
    """Steps of an epoch."""
    evaluation_s: float
    """One evaluation."""
    epoch_s: float
    """An epoch with its evaluation and the time that training waits for checkpoints."""
    checkpoint_bytes: int
    stall_s: float
    """Time that training waits for one checkpoint."""
    write_s: float
    """Time of its write, while training goes on."""
    requeues: int
    hours: float
    """From the first job's start to the last one's end, with the waits in the queue between."""
    gpu_hours: float
    """Without the waits in the queue."""


def run(forecast: Forecast, gpus: int) -> Run:
    """The whole run on `gpus` GPUs, among which `global_batch` can be divided.

    Raises:
        TooShortError: The time limit leaves a job no time to train.
    """
    config, recipe, step = forecast.config, forecast.recipe, forecast.step(gpus)
    whole = math.floor if recipe.input.drop_last else math.ceil
    steps = max(1, whole(config.train_images / recipe.global_batch))
    size = checkpoint_bytes(forecast.network, recipe, gpus)
    stall_s, write_s = size / forecast.speeds.stall_bytes_per_s, size / forecast.speeds.write_bytes_per_s
    evaluation_s = _evaluation_s(forecast, gpus)
    busy_s = steps * step.seconds + evaluation_s
    epoch_s = busy_s + stall_s * (1 + busy_s // (60 * config.save_minutes))
    work_s = recipe.epochs * epoch_s
    around_s = config.startup_s + write_s  # a job that ends waits for its last checkpoint to be written
    requeues = _jobs(work_s, 3600 * config.hours, around_s) - 1
    computed_s = work_s + (requeues + 1) * around_s
    return Run(
        step=step,
        steps=steps,
        evaluation_s=evaluation_s,
        epoch_s=epoch_s,
        checkpoint_bytes=size,
        stall_s=stall_s,
        write_s=write_s,
        requeues=requeues,
        hours=(computed_s + 60 * requeues * config.queue_minutes) / 3600,
        gpu_hours=gpus * computed_s / 3600,
    )


def gpu_counts(config: PlanConfig) -> list[int]:
    """GPUs of each row: doubled up to a node, then by doubled nodes; and those of the flags."""
    node = config.gpus_per_node
    within = [2**power for power in range(node.bit_length()) if 2**power < node]
    across = [node * 2**power for power in range(MOST_GPUS.bit_length()) if node * 2**power <= MOST_GPUS]
    return sorted({*within, *across, node * config.nodes})


def _jobs(work_s: float, limit_s: float, around_s: float) -> int:
    if limit_s <= around_s:
        raise TooShortError(
            f"--hours: {limit_s / 3600:g} are {limit_s:.0f} s, but a job's start and its last checkpoint take "
            f"{around_s:.0f} s; use more, or lower --startup-s"
        )
    return math.ceil(work_s / (limit_s - around_s))


def _evaluation_s(forecast: Forecast, gpus: int) -> float:
    """Forward passes of the images of `val` and of `precise_bn`, by the raw weights and, if there is one, the EMA."""
    recipe, sizes = forecast.recipe, forecast.recipe.input
    images = math.ceil((forecast.config.val_images + recipe.precise_bn) / gpus)
    networks = 2 if recipe.ema.decay else 1
    seconds = FORWARD * (sizes.eval_crop / sizes.train_size) ** 2 / forecast.speeds.images_per_s
    return images * max(networks * seconds, EVAL_DECODING / forecast.core_images_per_s)

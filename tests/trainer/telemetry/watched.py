"""A run to be watched: what its telemetry is built from, and points of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data.plan.config import InputConfig
from data.plan.plan import TrainPlan
from models.config import ModelConfig
from tests.data.making import imagined
from trainer.console import Console
from trainer.context import RunContext
from trainer.metrics import Scores
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.telemetry.device import Usage
from trainer.telemetry.phases import Lap
from trainer.telemetry.point import Counts, Learning, Pace, Point
from trainer.world import World

STEPS = 10  # an epoch
RECIPE = Recipe(
    model=ModelConfig(name="resnet20", num_classes=4),
    input=InputConfig(train_size=32),
    epochs=4,
    global_batch=8,
    micro_batch=8,
)


def context(run: Path, recipe: Recipe = RECIPE, **site: Any) -> RunContext:
    return RunContext(
        recipe=recipe,
        site=SiteConfig(data=run, output=run, log_every=1, **site),
        runtime=Runtime(World(), recipe.precision, threads=1),
        stop=StopFlag(),
        console=Console(),
    )


def plan(watched: RunContext, classes: tuple[str, ...] = ("ant", "bee", "cat", "dog")) -> TrainPlan:
    sides = np.full(STEPS * watched.recipe.global_batch, 32)
    return TrainPlan(
        manifest=replace(imagined(sides, sides), classes=classes),
        config=watched.recipe.input,
        seed=0,
        global_batch=watched.recipe.global_batch,
        micro_batch=watched.recipe.micro_batch,
        shard=watched.runtime.shard,
    )


def point(step: int, loss: float = 1.0, data_wait: float = 0.25, step_ms: float = 1000.0) -> Point:
    shares = {"data_wait": data_wait, "forward": 0.75 - data_wait, "backward": 0.25}
    return Point(
        step=step,
        total_steps=40,
        epoch=(step - 1) // STEPS,
        epochs=4,
        scores=Scores(loss=loss, top1=50.0, top5=90.0, images=64),
        counts=Counts(
            images_seen=8 * step, replaced=step // 20, quarantined=3, decoder_restarts=step // 30, skipped=step // 30
        ),
        learning=Learning(lr=0.1, weight_norm=12.5, gradient_norm=None if step == 2 else 2.5, loss_scale=None),
        pace=Pace(
            step_s=0.05,
            images_per_s=1234.5,
            images_per_s_per_device=617.25,
            tflops_per_s=25.0,
            peak_tflops_per_s=100.0 if step % 2 else None,
            lap=Lap(1.0, shares, None, (step_ms,)),  # pyright: ignore[reportArgumentType]
        ),
        eta_s=61.0,
        usage=Usage(memory_gb=1.50041, device_memory_gb=2.25, power_w=250.0 if step % 2 else None, host_memory_gb=2.0),
    )

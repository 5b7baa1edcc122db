"""Our loop with all that a run has: counts, telemetry, a keeper that is asked at every step. No average of weights."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.catalog.manifest import Manifest
from data.plan.config import InputConfig
from data.plan.samples import MIX_DRAWS
from data.types import Batch
from models.config import ModelConfig
from tests.benchmarks.config import LR, MOMENTUM, WEIGHT_DECAY, LoopTask
from tests.benchmarks.resident import Opened, images_and_targets
from trainer import gpu
from trainer.console import Console
from trainer.context import RunContext
from trainer.doctor.rig import Resident
from trainer.engine import build
from trainer.engine.build import Data, Images
from trainer.engine.fit import Fit
from trainer.engine.loop import train_epoch
from trainer.engine.state import TrainState
from trainer.optim.config import SgdConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.telemetry.phases import Phase, Phases
from trainer.telemetry.telemetry import Telemetry
from trainer.train import take_hold
from trainer.world import World

_EPOCHS = 1_000_000  # more than anyone waits for


class Stopped(Phases):
    """A clock that nobody looks at."""

    def begin(self, phase: Phase) -> None:
        """Nothing."""


def open_loop(task: LoopTask, world: World, stack: ExitStack) -> Opened:
    """The loop at its first step (collective); `stack` closes what has to be closed."""
    parts = fit_parts(task, world, stack)
    runtime = parts.context.runtime

    def turn() -> None:
        train_epoch(parts)
        gpu.wait(runtime.device)

    return Opened(network=parts.state.model, turn=turn, agreed=runtime.any)


def fit_parts(task: LoopTask, world: World, stack: ExitStack, **site: Any) -> Fit:
    """A run on the resident batch, its epochs of `task.steps` steps, with settings of its site (collective)."""
    context = _setup(task, world, **site)
    if world.is_main:
        context.run.make()
    hold = take_hold(context.runtime, context.site, context.stop, stack)
    images = _manifest(task.steps * context.recipe.global_batch, task.num_classes)
    watched = None if task.loop == "silent" else _telemetry
    parts = build.build(context, (images, images), hold, stack, watched, partial(_resident, task))
    if task.loop == "silent":
        parts.train_step.phases = Stopped(context.runtime.device)
    return parts


def _setup(task: LoopTask, world: World, **site: Any) -> RunContext:
    recipe = Recipe(
        model=ModelConfig(name=task.network, num_classes=task.num_classes),
        input=InputConfig(train_size=task.image_size),
        optimizer=SgdConfig(lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        epochs=_EPOCHS,
        global_batch=task.batch * world.world_size,
        micro_batch=task.batch,
        precision=task.precision,
    )
    fields = {"channels_last": task.channels_last, "threads": task.threads, "keep_checkpoints": 1, **site}
    where = SiteConfig(data=task.folder, output=task.folder, **fields)
    runtime = Runtime(world, recipe.precision, task.threads)
    return RunContext(recipe=recipe, site=where, runtime=runtime, stop=StopFlag(), console=Console(quiet=where.quiet))


def _resident(task: LoopTask, context: RunContext, images: Images, _stack: ExitStack) -> Data:
    loader = Resident(_batch(task, context.runtime.device), task.steps)
    return Data(plans=build.plans(context, images), loaders=(loader, loader))


def _telemetry(context: RunContext, state: TrainState, data: Data, stack: ExitStack) -> Telemetry:
    telemetry = Telemetry(context, data.plans[0], state.step, state.evaluated, {})
    stack.callback(telemetry.close)
    return telemetry


def _batch(task: LoopTask, device: torch.device) -> Batch:
    images, targets = images_and_targets(task)
    return Batch(
        images=images.to(device),
        targets=targets.to(device),
        indices=torch.arange(task.batch),
        valid=torch.ones(task.batch, dtype=torch.bool, device=device),
        mixing=torch.zeros(MIX_DRAWS, dtype=torch.float64),
    )


def _manifest(count: int, num_classes: int) -> Manifest:
    """As many images as an epoch has; no file stands behind them."""
    zeros, nothing = np.zeros(count, np.int64), np.zeros(0, np.uint8)
    columns = ("targets", "widths", "heights", "sizes", "mtimes", "offsets", "archive", "formats", "modes")
    return Manifest(
        root=Path(),
        classes=tuple(map(str, range(num_classes))),
        archives=(),
        hashes=np.zeros((count, 16), np.uint8),
        names=nothing,
        ends=zeros,
        orientations=zeros,
        **dict.fromkeys(columns, zeros),
    )

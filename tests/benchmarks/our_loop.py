"""Our loop with all that a run has: counts, telemetry, a keeper that is asked at every step. No average of weights."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from data.manifest import Manifest
from data.plan.config import InputConfig
from data.plan.plan import TrainPlan
from data.plan.samples import MIX_DRAWS
from data.types import Batch
from models.config import ModelConfig
from tests.benchmarks.config import LR, MOMENTUM, WEIGHT_DECAY, LoopTask
from tests.benchmarks.resident import Opened, images_and_targets
from trainer import build
from trainer.boundary import Keeper
from trainer.config import Recipe, SiteConfig
from trainer.console import Console
from trainer.doctor.parts import Resident
from trainer.keep.saving import Saver
from trainer.learn.optim_config import SgdConfig
from trainer.loop import train_epoch
from trainer.meter import Meter
from trainer.parts import Fit
from trainer.preempt import StopFlag
from trainer.runtime import Runtime
from trainer.setup import Setup
from trainer.state import TrainState
from trainer.step import Normalize, TrainStep
from trainer.telemetry.phases import Phase, Phases
from trainer.telemetry.profiling import Profiler
from trainer.telemetry.telemetry import Telemetry
from trainer.world import World

_EPOCHS = 1_000_000  # more than anyone waits for


class Stopped(Phases):
    """A clock that nobody looks at."""

    def begin(self, phase: Phase) -> None:
        """Nothing."""


def open_loop(task: LoopTask, world: World, stack: ExitStack) -> Opened:
    """The loop at its first step (collective); `stack` closes what has to be closed."""
    parts = fit_parts(task, world, stack)
    runtime = parts.setup.runtime

    def turn() -> None:
        train_epoch(parts)
        runtime.wait()

    return Opened(network=parts.state.model, turn=turn, agreed=runtime.any)


def fit_parts(task: LoopTask, world: World, stack: ExitStack) -> Fit:
    """A run on the resident batch, its epochs of `task.steps` steps (collective)."""
    setup = _setup(task, world)
    recipe, runtime = setup.recipe, setup.runtime
    state = build.train_state(recipe, setup.site, runtime)
    normalize = Normalize(recipe.input, runtime.device, channels_last=task.channels_last)
    model = build.forward(recipe, state, runtime, normalize)
    loader = Resident(_batch(task, runtime.device), task.steps)
    manifest = _manifest(task.steps * recipe.global_batch, task.num_classes)
    plans = build.plans(setup, (manifest, manifest))
    saver = _saver(setup, stack) if runtime.is_main else None
    watched = runtime.is_main and task.loop != "silent"
    train_step = TrainStep(runtime, model, state, normalize, recipe)
    if task.loop == "silent":
        train_step.phases = Stopped(runtime.device)
    return Fit(
        setup=setup,
        train_loader=loader,
        eval_loader=loader,
        train_step=train_step,
        normalize=normalize,
        state=state,
        keeper=Keeper(setup, state, saver, None),
        plan=plans[0],
        eval_plan=plans[1],
        meter=Meter(setup, plans[0], train_step, state),
        profiler=Profiler(setup, 0, stack),
        telemetry=_telemetry(setup, plans[0], state, stack) if watched else None,
    )


def _setup(task: LoopTask, world: World) -> Setup:
    recipe = Recipe(
        model=ModelConfig(name=task.network, num_classes=task.num_classes),
        input=InputConfig(train_size=task.image_size),
        optimizer=SgdConfig(lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        epochs=_EPOCHS,
        global_batch=task.batch * world.world_size,
        micro_batch=task.batch,
        precision=task.precision,
    )
    site = SiteConfig(
        data=task.folder, output=task.folder, channels_last=task.channels_last, threads=task.threads, keep_checkpoints=1
    )
    runtime = Runtime(world, recipe.precision, task.threads)
    return Setup(recipe=recipe, site=site, runtime=runtime, stop=StopFlag(), console=Console(quiet=site.quiet))


def _saver(setup: Setup, stack: ExitStack) -> Saver:
    setup.run.make()
    saver = Saver(setup.run.checkpoints, setup.site, guard=lambda: None)
    stack.callback(saver.finish)
    return saver


def _telemetry(setup: Setup, plan: TrainPlan, state: TrainState, stack: ExitStack) -> Telemetry:
    telemetry = Telemetry(setup, plan, state.step, state.evaluated, {})
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

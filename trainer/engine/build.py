"""Builds a run from small builders, each of which returns one object; the loop calls none of them."""

import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import nn

from data.catalog.manifest import Manifest
from data.load import backends
from data.load.note import Note
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan, training_sizes
from data.types import Backend, Loader
from models import factory
from trainer import at_work, gpu, metrics
from trainer.checkpoint.holder import Hold
from trainer.checkpoint.saving import Saver
from trainer.context import RunContext
from trainer.engine.boundary import Keeper, advise_grace, checkpoint_bytes
from trainer.engine.fit import Fit
from trainer.engine.meter import Meter
from trainer.engine.split import eval_plan, train_plan
from trainer.engine.state import TrainState, restore
from trainer.engine.step import Normalize, TrainStep
from trainer.optim.ema import Ema
from trainer.optim.freezing import freeze
from trainer.optim.loss import losses
from trainer.optim.optimizer import build_optimizer
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.schedule import peak
from trainer.runtime import Runtime
from trainer.telemetry.profiler import Profiler
from trainer.telemetry.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network with its optimizer."""

    state: TrainState
    normalize: Normalize
    model: nn.Module
    """The state's network, distributed and perhaps compiled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The plans and loaders of train and val."""

    plans: tuple[TrainPlan, EvalPlan]
    loaders: tuple[Loader, Loader]
    chosen: backends.Chosen | None = None
    """The backend and why it was chosen; None if `OpenData` does not choose one."""


Images = tuple[Manifest, Manifest]
OpenData = Callable[[RunContext, Images, ExitStack], Data]
OpenTelemetry = Callable[[RunContext, TrainState, Data, ExitStack], Telemetry]


def build(
    context: RunContext,
    images: Images,
    hold: Hold | None,
    stack: ExitStack,
    open_telemetry: OpenTelemetry | None = None,
    open_data: OpenData | None = None,
) -> Fit:
    """Build a run at the step of its newest checkpoint (collective).

    Args:
        context: The run.
        images: The manifests of train and val.
        hold: Of the directory, on rank 0.
        stack: Closes loaders, files and threads.
        open_telemetry: Called last, on rank 0; None: nothing is logged.
        open_data: Opens the loaders; None: `run_data`.
    """
    built = network(context)
    state, run, runtime = built.state, context.run, context.runtime
    restore(state, context.recipe, run.checkpoints, runtime)
    count = checkpoint_bytes(state, runtime.world.world_size)
    if runtime.is_main:
        advise_grace(context, count)
    opened = (open_data or run_data)(context, images, stack)
    saver = Saver(run.checkpoints, context.site, hold.check, hold.token) if hold else None
    if saver:
        stack.callback(saver.finish)
        saver.reserve(count, runtime.device)
    fit = assemble(context, built, opened, Keeper(context, state, saver, hold, images[0].classes), stack)
    if open_telemetry and runtime.is_main:
        fit = replace(fit, telemetry=open_telemetry(context, state, opened, stack))
    return fit


def assemble(context: RunContext, network: Network, data: Data, keeper: Keeper, stack: ExitStack) -> Fit:
    """What the loop works with, without telemetry; `stack` ends a profile."""
    state, plan = network.state, data.plans[0]
    step = TrainStep(context.runtime, network.model, state, network.normalize, context.recipe)
    return Fit(
        context=context,
        train_loader=data.loaders[0],
        eval_loader=data.loaders[1],
        train_step=step,
        normalize=network.normalize,
        state=state,
        keeper=keeper,
        plan=plan,
        eval_plan=data.plans[1],
        meter=Meter(context, plan, step, state),
        profiler=Profiler(context, context.recipe.epochs * plan.steps_per_epoch - state.step, stack),
        telemetry=None,
    )


def network(context: RunContext, *, distributed: bool = True) -> Network:
    """The recipe's network with its optimizer (collective); if not `distributed`, gradients are not exchanged."""
    recipe, runtime = context.recipe, context.runtime
    state = train_state(recipe, context.site, runtime)
    normalize = Normalize(recipe.input, runtime.device, channels_last=context.site.channels_last)
    model = forward(recipe, state, runtime, normalize) if distributed else state.model
    return Network(state=state, normalize=normalize, model=model)


def run_data(context: RunContext, images: Images, stack: ExitStack) -> Data:
    """The loaders of a run, which note the images at work (collective); `stack` closes them."""
    both, chosen = plans(context, images), chosen_loader(context, images[0])
    notes = at_work.begin(context.run, context.runtime.world.rank, (both[0].max_batch, both[1].max_batch), stack)
    return Data(plans=both, loaders=loaders(context, both, chosen, stack, notes), chosen=chosen)


def plans(context: RunContext, images: Images) -> tuple[TrainPlan, EvalPlan]:
    """This process's plans of train and val."""
    recipe, shard = context.recipe, context.runtime.shard
    return train_plan(recipe, images[0], shard), eval_plan(recipe, images[1], shard)


def chosen_loader(context: RunContext, images: Manifest) -> backends.Chosen:
    """The loader's backend: the user's choice, that of the run's first start, or what suits this machine (collective).

    Raises:
        UnusableBackendError: The chosen loader cannot be used here.
    """
    runtime = context.runtime
    records = context.run.records() if runtime.is_main else ()
    begun = next((record.get("loader") for record in records if record["kind"] == "start"), None)
    chosen = backends.choose(context.site.loader, images, runtime.device, runtime.threads, begun)
    every = get_args(Backend)
    vote = torch.tensor(every.index(chosen.backend) if runtime.is_main else 0)  # ranks may have other numbers of CPUs
    return replace(chosen, backend=every[int(runtime.sum(vote))])


def loaders(
    context: RunContext,
    plans: tuple[TrainPlan, EvalPlan],
    chosen: backends.Chosen,
    stack: ExitStack,
    notes: tuple[Note | None, Note | None] = (None, None),
) -> tuple[Loader, Loader]:
    """The loaders of this process's share of train and val; `notes` name the images at work; `stack` closes them."""
    train, val = (
        backends.open_loader(
            plan,
            backend,
            device=context.runtime.device,
            threads=context.runtime.threads,
            max_broken=context.site.max_broken,
            note=note,
        )
        for plan, backend, note in zip(plans, (chosen.backend, backends.evaluating(chosen.backend)), notes, strict=True)
    )
    return stack.enter_context(closing(train)), stack.enter_context(closing(val))


def train_state(recipe: Recipe, site: SiteConfig, runtime: Runtime) -> TrainState:
    """The network with its initial weights, the same on every rank, its optimizer and its average if any."""
    torch.manual_seed(recipe.seed)
    model = gpu.place(factory.build(recipe.model), runtime.device, channels_last=site.channels_last)
    if recipe.sync_bn and runtime.world.world_size > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    freeze(model, recipe.init.freeze or ())
    if recipe.gradient_checkpointing:
        model.set_grad_checkpointing()  # pyright: ignore[reportCallIssue]
    return TrainState(
        model=model.train(),
        optimizer=build_optimizer(model, replace(recipe.optimizer, lr=peak(recipe))),
        scaler=runtime.scaler,
        ema=Ema(model, recipe.ema) if recipe.ema.decay else None,
        sums=metrics.empty(runtime.device),
        faults=torch.tensor([-math.inf, 0.0], dtype=torch.float64, device=runtime.device),
    )


def forward(recipe: Recipe, state: TrainState, runtime: Runtime, normalize: Normalize) -> nn.Module:
    """The network distributed and then, as PyTorch advises, compiled (collective)."""
    compiles = recipe.compile != "off"
    static = recipe.accumulation(runtime.world.world_size) == 1 and not compiles
    model = runtime.distribute(state.model, compression=recipe.gradient_compression, static=static)
    if compiles:  # for one size at a time: shapes change only where the training size grows
        allow_graphs(training_sizes(recipe.input))
        model = torch.compile(model, mode=recipe.compile, dynamic=False)
    if runtime.world.world_size > 2:
        _settle_buckets(model, normalize, state, recipe, runtime)  # pyright: ignore[reportArgumentType]
    return model  # pyright: ignore[reportReturnType]


def allow_graphs(sizes: int) -> None:
    """Let torch.compile compile a network for each of `sizes` sizes: beyond its limit it runs uncompiled."""
    from torch._dynamo import config  # loads the compiler

    limit = sizes + 8  # and the default for everything else that this process compiles
    config.recompile_limit = max(config.recompile_limit, limit)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, limit)


def _settle_buckets(
    model: nn.Module, normalize: Normalize, state: TrainState, recipe: Recipe, runtime: Runtime
) -> None:
    """Run two passes on black images, so that DDP arranges its buckets before the first step (collective).

    After its first pass, or with a static graph its second, DDP arranges the gradients in new buckets, in the order in
    which they are computed. Three or more ranks sum each part of a bucket in a different order, so a resumed run would
    round its first steps differently. Images of another type or layout than a loader's would be compiled for once more.
    The order does not depend on the number of images: a CPU computes on two, a GPU chooses its algorithms meanwhile.
    """
    buffers = [buffer.clone() for buffer in state.model.buffers()]
    size = recipe.input.start_size or recipe.input.train_size
    full = recipe.compile != "off" or runtime.device.type == "cuda"
    count = recipe.micro_batch if full else min(2, recipe.micro_batch)
    images = normalize(torch.zeros(count, size, size, 3, dtype=torch.uint8))
    targets = torch.zeros(count, dtype=torch.int64, device=runtime.device)
    for _ in range(2):
        with runtime.autocast():
            outputs = model(images)
        losses(outputs, targets, recipe.loss).sum().backward()
        state.optimizer.zero_grad()
    for buffer, before in zip(state.model.buffers(), buffers, strict=True):
        buffer.copy_(before)

"""Small builders, each returning one part of a run, none called from the loop."""

import math
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from data.config import Backend
from data.load import backends
from data.load.backends import Chosen
from data.load.note import Note
from data.manifest import Manifest
from data.plan.config import EvalViews
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan, training_sizes
from data.types import Loader
from models import factory
from models.trace import skeleton
from trainer import devices, metrics
from trainer.config import Precision, Recipe, SiteConfig
from trainer.gpu import device_of
from trainer.keep import checkpoint
from trainer.learn.ema import Ema
from trainer.learn.loss import losses
from trainer.learn.optim import build_optimizer
from trainer.runtime import Runtime
from trainer.setup import Setup
from trainer.state import TrainState
from trainer.step import Normalize
from trainer.world import World

EVAL_BATCH = 64  # images per process and forward pass; the scores do not depend on it


def plans(setup: Setup, images: tuple[Manifest, Manifest]) -> tuple[TrainPlan, EvalPlan]:
    """What this process does with train and val."""
    recipe, shard = setup.recipe, setup.runtime.shard
    train = TrainPlan(
        manifest=images[0],
        config=recipe.input,
        seed=recipe.seed,
        global_batch=recipe.global_batch,
        micro_batch=recipe.micro_batch,
        shard=shard,
    )
    batch = min(EVAL_BATCH, math.ceil(len(images[1]) / shard.world_size))  # a short split is not filled up for nothing
    return train, EvalPlan(manifest=images[1], views=EvalViews.of(recipe.input), batch=batch, shard=shard)


def chosen_loader(setup: Setup, images: Manifest) -> Chosen:
    """What decodes: as asked for, or as at the run's first start, or what suits this machine (collective).

    Raises:
        UnusableBackendError: The loader asked for cannot do its work here.
    """
    runtime = setup.runtime
    records = setup.run.records() if runtime.is_main else []
    begun = next((record.get("loader") for record in records if record["kind"] == "start"), None)
    chosen = backends.choose(setup.site.loader, images, runtime.device, runtime.threads, begun)
    every = get_args(Backend)
    vote = torch.tensor(every.index(chosen.backend) if runtime.is_main else 0)  # ranks may have other numbers of CPUs
    return replace(chosen, backend=every[int(runtime.sum(vote))])


def loaders(
    setup: Setup,
    plans: tuple[TrainPlan, EvalPlan],
    chosen: Chosen,
    stack: ExitStack,
    notes: tuple[Note | None, Note | None] = (None, None),
) -> tuple[Loader, Loader]:
    """This process's share of train and val, with a note of what is at work in each; `stack` closes them."""
    train, val = (
        backends.open_loader(
            plan,
            backend,
            device=setup.runtime.device,
            threads=setup.runtime.threads,
            max_broken=setup.site.max_broken,
            note=note,
        )
        for plan, backend, note in zip(plans, (chosen.backend, backends.evaluating(chosen.backend)), notes, strict=True)
    )
    return stack.enter_context(closing(train)), stack.enter_context(closing(val))


def loader_problems(site: SiteConfig, world: World) -> list[str]:
    """Why the loader asked for cannot do its work on this machine."""
    problem = backends.problem(site.loader, None, device_of(world)) if site.loader else None
    return [problem] if problem else []


def network_problems(recipe: Recipe) -> list[str]:
    """Why the network cannot be built, or cannot see the recipe's images; tried without data or memory."""
    sizes, name = recipe.input, recipe.model.name
    try:
        network = skeleton(recipe.model)
    except ValueError as error:
        return str(error).splitlines()
    side = min(sizes.train_size, sizes.start_size or sizes.train_size)
    trained = _refusal(network.train(), recipe.micro_batch, side)
    evaluated = _refusal(network.eval(), 1, sizes.eval_crop)
    setting = "start_size" if side < sizes.train_size else "train_size"
    training = f"input.{setting}: {name} cannot train on micro-batches of {recipe.micro_batch} of {side} px: {trained}"
    evaluation = f"input.eval_crop: {name} cannot evaluate {sizes.eval_crop} px: {evaluated}"
    return [*([training] if trained else []), *([evaluation] if evaluated else [])]


def _refusal(network: nn.Module, batch: int, size: int) -> str | None:
    """What a network on the meta device says of so many images of that size, or None."""
    try:
        network(torch.empty(batch, 3, size, size, device="meta"))
    except NotImplementedError:  # an operation that cannot be tried without data
        return None
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        return str(error).splitlines()[0]
    return None


def device_problems(recipe: Recipe, world: World) -> list[str]:
    """What the recipe asks of a device that this machine has not."""
    on_gpu, problems = device_of(world).type == "cuda", precision_problems(recipe.precision, world)
    if not on_gpu and recipe.sync_bn and world.world_size > 1:
        problems.append("sync_bn: PyTorch's SyncBatchNorm needs GPUs; train on one process, or without it")
    if recipe.compile != "off":
        problems += [*devices.compiler_problems(gpu=on_gpu), *devices.header_problems(devices.header_folder())]
    return problems


def precision_problems(precision: Precision, world: World) -> list[str]:
    """Why this process's device cannot do the arithmetic."""
    device = device_of(world)
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return devices.precision_problems(precision, facts.name, (facts.major, facts.minor))
    return ["precision: tf32 needs an NVIDIA GPU; use bf16 or fp32"] if precision == "tf32" else []


def train_state(recipe: Recipe, site: SiteConfig, runtime: Runtime) -> TrainState:
    """The network with its initial weights, the same on every rank, its optimizer and its average."""
    torch.manual_seed(recipe.seed)
    model = runtime.place(factory.build(recipe.model), channels_last=site.channels_last)
    if recipe.sync_bn and runtime.world.world_size > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return TrainState(
        model=model.train(),
        optimizer=build_optimizer(model, recipe.optimizer),
        scaler=runtime.scaler,
        ema=Ema(model, recipe.ema) if recipe.ema.decay else None,
        sums=metrics.empty(runtime.device),
        faults=torch.tensor([-math.inf, 0.0], dtype=torch.float64, device=runtime.device),
    )


def forward(recipe: Recipe, state: TrainState, runtime: Runtime, normalize: Normalize) -> nn.Module:
    """The network as a step calls it: distributed and then, as PyTorch advises, compiled (collective)."""
    compiles = recipe.compile != "off"
    static = recipe.accumulation(runtime.world.world_size) == 1 and not compiles
    model = runtime.distribute(state.model, compression=recipe.gradient_compression, static=static)
    if compiles:  # a size at a time: shapes change only where the training size grows
        allow_graphs(training_sizes(recipe.input))
        model = torch.compile(model, mode=recipe.compile, dynamic=False)
    if runtime.world.world_size > 2:
        _settle_buckets(model, normalize, state, recipe, runtime)  # pyright: ignore[reportArgumentType]
    return model  # pyright: ignore[reportReturnType]


def allow_graphs(sizes: int) -> None:
    """Let torch.compile compile a network for each of so many sizes: past its limit it runs the rest uncompiled."""
    from torch._dynamo import config  # loads the compiler

    limit = sizes + 8  # its default stays in reserve for what else this process compiles
    config.recompile_limit = max(config.recompile_limit, limit)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, limit)


def _settle_buckets(
    model: nn.Module, normalize: Normalize, state: TrainState, recipe: Recipe, runtime: Runtime
) -> None:
    """Spend two passes on black images (collective).

    After its first pass, or where the graph is static its second, DDP puts the gradients into other buckets, in the
    order in which they come. Three ranks or more add up each part of a bucket in another order, so a run that goes on
    would round its first steps otherwise than one that never stopped. The images come as a loader's, or a compiled
    network would be compiled once more for them.
    """
    buffers = [buffer.clone() for buffer in state.model.buffers()]
    size = recipe.input.start_size or recipe.input.train_size
    images = normalize(torch.zeros(recipe.micro_batch, size, size, 3, dtype=torch.uint8))
    targets = torch.zeros(recipe.micro_batch, dtype=torch.int64, device=runtime.device)
    for _ in range(2):
        with runtime.autocast():
            outputs = model(images)
        losses(outputs, targets, recipe.loss).sum().backward()
        state.optimizer.zero_grad()
    for buffer, before in zip(state.model.buffers(), buffers, strict=True):
        buffer.copy_(before)


def restore(state: TrainState, folder: Path, runtime: Runtime) -> None:
    """Put the newest valid checkpoint, if any, into the state, whose network is distributed already (collective).

    Raises:
        RuntimeError: Ranks see different checkpoints, as they may on a file system that is slow to agree.
    """
    stored = checkpoint.load_newest(folder)
    if stored:
        state.restore(stored, runtime.world.rank, runtime.world.world_size)
    if runtime.sum(_step(state, runtime)) != runtime.world.world_size * _step(state, runtime):
        raise RuntimeError(
            f"rank {runtime.world.rank} sees step {state.step} in {folder}, other ranks another; start again"
        )


def _step(state: TrainState, runtime: Runtime) -> Tensor:
    return torch.tensor(state.step, device=runtime.device)

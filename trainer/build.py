"""Small builders, each returning one part of a run, none called from the loop."""

from contextlib import ExitStack, closing
from pathlib import Path

import torch
from torch import Tensor, nn

from data import manifest, tree
from data.dali import DaliLoader
from data.manifest import Manifest
from data.plan import EvalPlan, TrainPlan
from data.progress import counting
from data.types import BrokenImageError, Loader, Shard
from data.workers import cores
from models import registry
from models.trace import skeleton
from trainer import checkpoint, metrics
from trainer.config import Recipe, SiteConfig
from trainer.optim import build_optimizer
from trainer.preempt import StopRequestedError
from trainer.runtime import Runtime
from trainer.setup import Setup
from trainer.state import TrainState
from trainer.world import World

EVAL_BATCH = 64  # images per process and forward pass; the scores do not depend on it


class ChangedDataError(ValueError):
    """The images on disk are not those the run began with; the message names one."""


class PeerFailedError(RuntimeError):
    """Rank 0 cannot go on, and says why."""


def threads(site: SiteConfig, world: World) -> int:
    """CPU threads of this process: as set, or its even share of the machine's cores."""
    return site.threads or max(1, cores() // world.local_world_size)


def list_images(setup: Setup) -> tuple[Manifest, Manifest]:
    """The manifests of train and val; rank 0 makes them when the run begins (collective).

    Raises:
        ChangedDataError: The tree is not the one the run began with.
        PeerFailedError: Rank 0 raises one of the following.
        data.manifest.DamagedManifestError: A list that an earlier start stored cannot be read.
        data.types.BrokenImageError: A file is not an image.
        trainer.preempt.StopRequestedError: Asked to stop while listing.
    """
    root, run = setup.site.data, setup.run
    failure = _list_missing(setup) if setup.runtime.is_main else None
    if setup.runtime.any(failure is not None):
        setup.stop.check()
        raise failure or PeerFailedError
    train, val = (manifest.load(run.manifest(split), root / split) for split in ("train", "val"))
    for change in filter(None, (train.changed(), val.changed())):
        raise ChangedDataError(f"{change}\n  name another --output to train on what is there now")
    return train, val


def _list_missing(setup: Setup) -> Exception | None:
    """Make what is missing; what went wrong is given back, so that all ranks can leave together."""
    try:
        for split in ("train", "val"):
            if not setup.run.manifest(split).exists():
                _scan(setup, split).save(setup.run.manifest(split))
    except (BrokenImageError, StopRequestedError, OSError) as error:
        return error
    return None


def plans(setup: Setup, images: tuple[Manifest, Manifest]) -> tuple[TrainPlan, EvalPlan]:
    """What this process does with train and val."""
    recipe, shard = setup.recipe, setup.runtime.shard
    return _train_plan(images[0], recipe, shard), _eval_plan(images[1], recipe, shard)


def loaders(
    setup: Setup, images: tuple[Manifest, Manifest], plans: tuple[TrainPlan, EvalPlan], stack: ExitStack
) -> tuple[Loader, Loader]:
    """This process's share of train and val; `stack` closes them."""
    runtime = setup.runtime
    workers, pinned = threads(setup.site, runtime.world), runtime.device.type == "cuda"
    train, val = (
        DaliLoader(split, plan, threads=workers, pinned=pinned) for split, plan in zip(images, plans, strict=True)
    )
    return stack.enter_context(closing(train)), stack.enter_context(closing(val))


def network_problems(recipe: Recipe) -> list[str]:
    """Why the network cannot be built, or cannot see the recipe's images; tried without data or memory."""
    sizes, name = recipe.input, recipe.model.name
    try:
        network = skeleton(recipe.model)
    except ValueError as error:
        return str(error).splitlines()
    trained = _refusal(network.train(), recipe.micro_batch, sizes.train_size)
    evaluated = _refusal(network.eval(), 1, sizes.eval_crop)
    batch = f"micro-batches of {recipe.micro_batch}"
    return [
        *([f"input.train_size: {name} cannot train on {batch} of {sizes.train_size} px: {trained}"] if trained else []),
        *([f"input.eval_crop: {name} cannot evaluate {sizes.eval_crop} px: {evaluated}"] if evaluated else []),
    ]


def _refusal(network: nn.Module, batch: int, size: int) -> str | None:
    """What a network on the meta device says of so many images of that size, or None."""
    try:
        network(torch.empty(batch, 3, size, size, device="meta"))
    except NotImplementedError:  # an operation that cannot be tried without data
        return None
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        return str(error).splitlines()[0]
    return None


def train_state(recipe: Recipe, runtime: Runtime) -> TrainState:
    """The network with its initial weights, the same on every rank, and its optimizer."""
    torch.manual_seed(recipe.seed)
    model = runtime.place(registry.build(recipe.model), channels_last=recipe.channels_last)
    return TrainState(
        model=model.train(),
        optimizer=build_optimizer(model, recipe.optimizer),
        sums=metrics.empty(runtime.device),
    )


def restore(state: TrainState, folder: Path, runtime: Runtime) -> None:
    """Put the newest valid checkpoint, if any, into the state (collective).

    Raises:
        RuntimeError: Ranks see different checkpoints, as they may on a file system that is slow to agree.
    """
    stored = checkpoint.load_newest(folder)
    if stored:
        state.load_state_dict(stored)
    if not runtime.is_main:
        state.sums.zero_()  # rank 0's sums are those of all ranks
    if runtime.sum(_step(state, runtime)) != runtime.world.world_size * _step(state, runtime):
        raise RuntimeError(
            f"rank {runtime.world.rank} sees step {state.step} in {folder}, other ranks another; start again"
        )


def _train_plan(images: Manifest, recipe: Recipe, shard: Shard) -> TrainPlan:
    return TrainPlan(
        widths=images.widths,
        heights=images.heights,
        config=recipe.input,
        seed=recipe.seed,
        global_batch=recipe.global_batch,
        micro_batch=recipe.micro_batch,
        shard=shard,
    )


def _eval_plan(images: Manifest, recipe: Recipe, shard: Shard) -> EvalPlan:
    return EvalPlan(widths=images.widths, heights=images.heights, config=recipe.input, batch=EVAL_BATCH, shard=shard)


def _step(state: TrainState, runtime: Runtime) -> Tensor:
    return torch.tensor(state.step, device=runtime.device)


def _scan(setup: Setup, split: str) -> Manifest:
    with counting(f"reading image sizes of {setup.site.data / split}", "images") as show:

        def progress(done: int, total: int) -> None:
            setup.stop.check()
            show(done, total)

        return manifest.scan(tree.read(setup.site.data, split), progress)

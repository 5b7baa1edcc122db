"""Small builders, each returning one part of a run, none called from the loop."""

from contextlib import ExitStack, closing
from pathlib import Path

import torch
from torch import Tensor, nn

from data.load import backends
from data.load.backends import Chosen
from data.manifest import Manifest
from data.plan.plan import EvalPlan, TrainPlan
from data.types import Loader
from data.workers import cores
from models import registry
from models.trace import skeleton
from trainer import checkpoint, metrics
from trainer.config import Recipe, SiteConfig
from trainer.optim import build_optimizer
from trainer.runtime import Runtime
from trainer.setup import Setup
from trainer.state import TrainState
from trainer.world import World

EVAL_BATCH = 64  # images per process and forward pass; the scores do not depend on it


def threads(site: SiteConfig, world: World) -> int:
    """CPU threads of this process: as set, or its even share of the machine's cores."""
    return site.threads or max(1, cores() // world.local_world_size)


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
    return train, EvalPlan(manifest=images[1], config=recipe.input, batch=EVAL_BATCH, shard=shard)


def loaders(setup: Setup, plans: tuple[TrainPlan, EvalPlan], chosen: Chosen, stack: ExitStack) -> tuple[Loader, Loader]:
    """This process's share of train and val; `stack` closes them."""
    train, val = (
        backends.open_loader(
            plan,
            chosen.backend,
            device=setup.runtime.device,
            threads=threads(setup.site, setup.runtime.world),
            max_broken=setup.site.max_broken,
        )
        for plan in plans
    )
    return stack.enter_context(closing(train)), stack.enter_context(closing(val))


def loader_problems(site: SiteConfig) -> list[str]:
    """Why the loader asked for cannot do its work on this machine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    problem = backends.problem(site.loader, None, device) if site.loader else None
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


def _step(state: TrainState, runtime: Runtime) -> Tensor:
    return torch.tensor(state.step, device=runtime.device)

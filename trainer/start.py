"""How a run takes its directory: alone, with a micro-batch that fits, and from its newest checkpoint."""

from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import Recipe, SiteConfig
from trainer.console import Console
from trainer.keep import checkpoint, grace
from trainer.keep.holder import HeldError, Hold
from trainer.keep.snapshot import tree_bytes
from trainer.memory import fitted
from trainer.peers import agree
from trainer.preempt import StopFlag, StopRequestedError
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.setup import Setup
from trainer.state import TrainState


def take_hold(runtime: Runtime, site: SiteConfig, stop: StopFlag, stack: ExitStack) -> Hold | None:
    """Make sure that no other process trains in this run directory; rank 0 holds it until `stack` ends (collective).

    Raises:
        HeldError: Another process holds it.
        StopRequestedError: Asked to stop while waiting to see whether it lives.
        OSError: The directory cannot be written.
        PeerFailedError: Rank 0 raises one of these.
    """
    failure: Exception | None = None
    hold: Hold | None = None
    if runtime.is_main:
        try:
            hold = stack.enter_context(Hold.take(RunDirectory(site.output).holder, Console().say, stop.check))
        except (HeldError, StopRequestedError, OSError) as error:
            failure = error
    agree(runtime, failure)
    return hold


def begin(recipe: Recipe, runtime: Runtime, site: SiteConfig) -> Recipe:
    """The recipe that this directory's run has, written down if it is new (collective).

    Raises:
        MemoryShortError: With `accumulate: auto`, not even one image fits into memory.
    """
    run = RunDirectory(site.output)
    if site.accumulate == "auto" and not runtime.any(run.recipe.exists()):
        given, recipe = recipe.micro_batch, fitted(recipe, runtime, channels_last=site.channels_last)
        if runtime.is_main and recipe.micro_batch < given:
            Console().say(f"a micro_batch of {given} does not fit into memory: going on with {recipe.micro_batch}")
    if runtime.is_main:
        run.begin(recipe)
    return recipe


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


def checkpoint_bytes(state: TrainState, world_size: int) -> int:
    """About what a checkpoint takes, rather more than less; an optimizer's moments may come with the first step."""
    weights = [network.state_dict() for network in state.networks]
    moments = 2 * sum(weight.nbytes for weight in state.model.parameters())
    return tree_bytes(weights) + moments + world_size * tree_bytes(state.own())


def advise_grace(setup: Setup, count: int) -> None:
    """Say so if a stop would leave too little time to save a checkpoint of so many bytes here (rank 0 only)."""
    if (grace_s := grace.grace_s()) is None:
        return
    with suppress(OSError):  # the first checkpoint will say it better
        if slow := grace.warning(grace.measured_write_s(setup.run.checkpoints, count), count, grace_s):
            setup.console.say(slow)

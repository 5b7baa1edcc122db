"""Everything that the next step depends on."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler  # pyright: ignore[reportPrivateImportUsage] - its public place
from torch.nn import functional as F
from torch.optim import Optimizer

from trainer import initial
from trainer.checkpoint import store
from trainer.exits import note
from trainer.metrics import FIELDS
from trainer.optim import batchnorm
from trainer.optim.ema import Ema
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime


@dataclass(slots=True)
class TrainState:
    """A run between two steps.

    The position in the data follows from `step`, and every crop, flip and draw from that position, so the state of no
    loader or generator is needed.
    """

    model: nn.Module
    """The network itself, not its DDP wrapper."""
    optimizer: Optimizer
    scaler: GradScaler
    """Of fp16's gradients; does nothing in other precisions."""
    ema: Ema | None
    """The averaged network, where the recipe has one."""
    sums: Tensor
    """(metrics.FIELDS,) this rank's training sums since the last logged point."""
    faults: Tensor
    """(2,) float64, this rank's: minus the first step whose loss or gradient was not finite, or -inf; how many."""
    step: int = 0
    """Optimizer steps done."""
    evaluated: int = 0
    """Epochs whose evaluation is done and logged."""
    broken: int = 0
    """Training images that could not be read or decoded and were replaced, up to the last logged point."""
    best_top1: float = 0.0
    """Highest evaluated top-1 so far, percent, of the averaged weights where there are such."""
    records: int = 0
    """Of metrics.jsonl so far, starts apart; counted by rank 0, at each checkpoint."""
    scores: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """The newest evaluation of `raw` and perhaps `ema` weights: top1 and top5 in percent, loss, images, broken."""

    @property
    def networks(self) -> list[nn.Module]:
        """The network, and the averaged one where there is one."""
        return [self.model, *([self.ema.network] if self.ema else [])]

    def own(self) -> dict[str, Tensor]:
        """What differs between ranks; BatchNorm's statistics are of this rank's images."""
        return {"sums": self.sums, "faults": self.faults, "statistics": batchnorm.flat(self.networks)}

    def tree(self, ranks: dict[str, Tensor], about: dict[str, str]) -> dict[str, Any]:
        """A checkpoint: tensors and plain data only. Networks get the mean of the ranks' statistics.

        Args:
            ranks: `own` of all ranks, stacked.
            about: Metadata of the files of weights.
        """
        shared = batchnorm.split(self.networks, ranks["statistics"].mean(0))
        averaged = {"ema": {**self.ema.network.state_dict(), **shared[1]}} if self.ema else {}
        return {
            "model": {**self.model.state_dict(), **shared[0]},
            **averaged,
            "about": about,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema_updates": self.ema.updates if self.ema else 0,
            "ranks": ranks,
            "step": self.step,
            "evaluated": self.evaluated,
            "broken": self.broken,
            "records": self.records,
            "best_top1": self.best_top1,
            "scores": self.scores,
        }

    def restore(self, tree: dict[str, Any], rank: int, world_size: int) -> None:
        """Restore the result of `tree`; another number of ranks goes on from the sums and means of all.

        Raises:
            RuntimeError: The weights belong to another network.
        """
        self.model.load_state_dict(tree["model"])
        if self.ema:
            self.ema.network.load_state_dict(tree["ema"])
            self.ema.updates = tree["ema_updates"]
        self.optimizer.load_state_dict(tree["optimizer"])
        self.scaler.load_state_dict(tree["scaler"])
        self.step, self.evaluated, self.broken = tree["step"], tree["evaluated"], tree["broken"]
        self.best_top1, self.scores = tree["best_top1"], tree["scores"]
        self.records = tree.get("records", 0)  # version 0.1.0 counted none
        ranks = tree["ranks"]
        sums = F.pad(ranks["sums"], (0, FIELDS - ranks["sums"].shape[1]))  # version 0.1.0 counted no refusals
        if len(ranks["sums"]) == world_size:
            batchnorm.put(self.networks, ranks["statistics"][rank])
            self.sums.copy_(sums[rank])
        else:
            self.sums.copy_(sums.sum(0) if rank == 0 else torch.zeros(FIELDS))
        self.faults.copy_(ranks["faults"].amax(0))


LOOK_AGAIN_S = (0.0, 5.0, 15.0, 45.0)  # for a minute, a network file system may show what a folder held before


def headline(state: TrainState) -> dict[str, float]:
    """The newest scores of the averaged weights, or without these of the raw ones."""
    return state.scores.get("ema") or state.scores["raw"]


def restore(state: TrainState, recipe: Recipe, folder: Path, runtime: Runtime) -> None:
    """Restore the newest valid checkpoint into a state whose network is distributed already (collective).

    Without a checkpoint, the run begins from the weights that the recipe names, if any.

    Raises:
        OtherWeightsError: Those have changed since the run's first start.
        RuntimeError: For a minute, ranks have seen different checkpoints.
    """
    stored = _agreed(folder, runtime)
    if stored:
        state.restore(stored, runtime.world.rank, runtime.world.world_size)
    elif recipe.init.weights:
        initial.load(state.model, recipe)
        if state.ema:
            state.ema.network.load_state_dict(state.model.state_dict())


def _agreed(folder: Path, runtime: Runtime) -> dict[str, Any] | None:
    """What `store.load_newest` returns, once all ranks see the same checkpoint (collective)."""
    rank, step, steps = runtime.world.rank, 0, list[int]()
    for pause in LOOK_AGAIN_S:
        if steps and rank == 0:
            note(f"ranks see different checkpoints, of steps {sorted(set(steps))}; looking again")
        time.sleep(pause)
        stored = store.load_newest(folder)
        step = stored["step"] if stored else 0
        steps = [int(one) for one in runtime.gather(torch.tensor(step, device=runtime.device))]
        if len(set(steps)) == 1:
            return stored
    raise RuntimeError(f"rank {rank} sees step {step} in {folder}, other ranks another; start again")

"""The validation images that a network is surest about and wrong, kept on the device while an evaluation goes on."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.types import Batch
from trainer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image that was taken for something else."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as the loader gave it."""
    index: int
    """Row of the manifest."""
    target: int
    """Its class."""
    answer: int
    """The class that was found."""
    confidence: float
    """Of that answer, 0 to 1."""


class Mistakes:
    """The images of this process with the greatest losses, of those that were not recognised."""

    def __init__(self, count: int) -> None:
        """Keep at most so many."""
        self._count = count
        self._kept: list[Tensor] = []  # losses, images, facts; each of as many rows

    def look(self, batch: Batch, logits: Tensor) -> None:
        """Keep what is worse than what is kept; reads no number from the device.

        Args:
            batch: On the device.
            logits: (N, C), of the batch.
        """
        targets = batch.targets.to(logits.device)
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        confidences, answers = logits.float().softmax(1).max(1)
        wrong = (answers != targets) & batch.valid.to(logits.device)
        facts = torch.stack([batch.indices.to(logits.device), targets, answers]).T.double()
        # what was right keeps its place in the ranking, behind all that was wrong
        found = [losses.double().where(wrong, -torch.inf), batch.images, torch.cat([facts, confidences[:, None]], 1)]
        best = found[0].topk(min(self._count, len(targets))).indices
        found = [part.to(logits.device)[best] for part in found]
        if self._kept:
            found = [torch.cat(pair) for pair in zip(self._kept, found, strict=True)]
            best = found[0].topk(min(self._count, len(found[0]))).indices
            found = [part[best] for part in found]
        self._kept = found

    def worst(self, runtime: Runtime) -> list[Mistake]:
        """The worst of all processes, the worst first (collective, once something was looked at)."""
        losses, images, facts = self._kept
        missing = self._count - len(losses)
        ranked = runtime.gather(F.pad(losses, (0, missing), value=-torch.inf)).flatten()
        order = ranked.argsort(descending=True, stable=True)[: self._count]  # the same on all processes
        order = order[ranked[order].isfinite()]  # sync
        mine, rows = order // self._count == runtime.world.rank, order % self._count
        rows = rows.where(mine, 0)  # others' rows may lie past ours, and are added as zeros
        pixels = runtime.sum(images[rows] * mine[:, None, None, None]).cpu().numpy()
        known = runtime.sum(facts[rows] * mine[:, None]).tolist()
        return [
            Mistake(image, int(index), int(target), int(answer), confidence)
            for image, (index, target, answer, confidence) in zip(pixels, known, strict=True)
        ]

"""The validation images with the greatest losses among those that a network classifies wrongly."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data.types import Batch
from trainer.confusion import Confusion, counted
from trainer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image that was classified wrongly."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as loaded."""
    index: int
    """Row of the manifest."""
    target: int
    """True class."""
    answer: int
    """Predicted class."""
    confidence: float
    """Probability of the predicted class, 0 to 1."""


class Answers:
    """Collects the answers of this process to all images of an evaluation, on its device."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes, self._pairs = num_classes, list[Tensor]()

    def look(self, batch: Batch, logits: Tensor) -> None:
        """Add those to a batch, without a host sync; `logits`: (N, C)."""
        pairs = batch.targets.to(logits.device) * self._num_classes + logits.argmax(1)
        self._pairs.append(pairs.where(batch.valid.to(logits.device), -1))

    def counts(self, runtime: Runtime) -> Confusion:
        """How often each class got which answer in all processes, which saw as many batches (collective)."""
        pairs = runtime.gather(torch.cat(self._pairs)).flatten().cpu().numpy()
        return counted(*np.divmod(pairs[pairs >= 0], self._num_classes), self._num_classes)


class Mistakes:
    """Keeps the worst mistakes of this process on its device during an evaluation."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[Tensor] = []  # losses, images, facts; each of as many rows

    def look(self, batch: Batch, logits: Tensor) -> None:
        """Keep the worst of this batch, on the device, and of those so far, without a host sync; `logits`: (N, C)."""
        targets = batch.targets.to(logits.device)
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
        confidences, answers = logits.float().softmax(1).max(1)
        wrong = (answers != targets) & batch.valid.to(logits.device)
        facts = torch.stack([batch.indices.to(logits.device), targets, answers]).T.double()
        # images classified correctly stay in the ranking, behind all others
        kept = [losses.double().where(wrong, -torch.inf), batch.images, torch.cat([facts, confidences[:, None]], 1)]
        worst = kept[0].topk(min(self._count, len(targets))).indices
        kept = [tensor.to(logits.device)[worst] for tensor in kept]
        if self._kept:
            kept = [torch.cat(pair) for pair in zip(self._kept, kept, strict=True)]
            worst = kept[0].topk(min(self._count, len(kept[0]))).indices
            kept = [tensor[worst] for tensor in kept]
        self._kept = kept

    def worst(self, runtime: Runtime) -> list[Mistake]:
        """The mistakes of all processes with the greatest losses, in that order (collective; only after `look`)."""
        losses, images, facts = self._kept
        missing = self._count - len(losses)
        ranked = runtime.gather(F.pad(losses, (0, missing), value=-torch.inf)).flatten()
        order = ranked.argsort(descending=True, stable=True)[: self._count]  # the same on all processes
        order = order[ranked[order].isfinite()]  # sync
        mine, rows = order // self._count == runtime.world.rank, order % self._count
        rows = rows.where(mine, 0)  # rows of other processes may not exist here; they are added as zeros
        pixels = runtime.sum(images[rows] * mine[:, None, None, None]).cpu().numpy()
        known = runtime.sum(facts[rows] * mine[:, None]).tolist()
        return [
            Mistake(image, int(index), int(target), int(answer), confidence)
            for image, (index, target, answer, confidence) in zip(pixels, known, strict=True)
        ]

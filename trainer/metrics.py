"""Sums of losses and hits, kept on the device until they are read."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

FIELDS = 6  # loss, top-1, top-5, images, broken images, refusals
BROKEN, REFUSALS = 4, 5


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over a number of images."""

    loss: float
    top1: float
    """Percent."""
    top5: float
    """Percent; of all classes where there are fewer than five."""
    images: int
    broken: int = 0
    """Images that could not be read or decoded: replaced in training, left out of an evaluation."""

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss)


def empty(device: torch.device) -> Tensor:
    """(FIELDS,) float64 zeros, to which `totals` are added."""
    return torch.zeros(FIELDS, dtype=torch.float64, device=device)


def totals(logits: Tensor, targets: Tensor, valid: Tensor, losses: Tensor | None = None) -> Tensor:
    """Sums over the valid rows of a batch, without a host sync.

    Args:
        logits: (N, C) float.
        targets: (N,) int64.
        valid: (N,) bool.
        losses: (N,) float; the cross-entropy where None.

    Returns:
        (FIELDS,) float64 on the device: loss, top-1, top-5, images, and 0 for the loader's counts.
    """
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = best == targets[:, None]  # (N, 5)
    if losses is None:
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
    ones = torch.ones_like(losses).double()
    columns = torch.stack([losses.double(), hits[:, 0].double(), hits.any(1).double(), ones, 0 * ones, 0 * ones])
    return columns.where(valid, 0).sum(1)  # (FIELDS, N) -> (FIELDS,)


def scores(sums: Tensor) -> Scores:
    """Means from sums over all processes."""
    loss, top1, top5, count, broken, _ = sums.tolist()  # sync
    divisor = count or math.nan  # no images, no mean
    return Scores(
        loss=loss / divisor,
        top1=100 * top1 / divisor,
        top5=100 * top5 / divisor,
        images=round(count),
        broken=round(broken),
    )

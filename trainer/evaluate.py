"""Accuracy in which each image counts once, at any world size."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from data.types import Loader
from trainer import metrics
from trainer.prefetch import on_device
from trainer.runtime import Runtime


def evaluate(
    runtime: Runtime,
    model: nn.Module,
    loader: Loader,
    normalize: Callable[[Tensor], Tensor],
    epoch: int,
    should_stop: Callable[[], bool],
) -> metrics.Scores | None:
    """Top-1, top-5 and cross-entropy over the whole split (collective).

    Args:
        runtime: This process among the others.
        model: The network itself, not its DDP wrapper; left in training mode.
        loader: This process's share of the split.
        normalize: Loader images to network input.
        epoch: Evaluations before this one; the loader has begun this one already.
        should_stop: Asked after each batch, agreed by all processes.

    Returns:
        The scores, or None where the evaluation was stopped.
    """
    model.eval()
    sums = metrics.empty(runtime.device)
    with torch.no_grad():
        for batch in on_device(loader.epoch(epoch), runtime.device):
            targets, valid = (part.to(runtime.device, non_blocking=True) for part in (batch.targets, batch.valid))
            sums += metrics.totals(model(normalize(batch.images)), targets, valid)
            if batch.broken:
                sums[metrics.BROKEN] += len(batch.broken)
            if should_stop():
                model.train()
                return None
    model.train()
    return metrics.scores(runtime.sum(sums))  # sums are reduced, then divided, once

"""Accuracy in which each image counts once, at any world size."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from data.types import Batch, Loader
from trainer import metrics
from trainer.engine.prefetch import Lead, on_device
from trainer.runtime import Runtime


def evaluate(
    runtime: Runtime,
    networks: Sequence[nn.Module],
    loader: Loader,
    normalize: Callable[[Tensor], Tensor],
    epoch: int,
    each: Callable[[Batch, Tensor], bool],
) -> list[metrics.Scores] | None:
    """Top-1, top-5 and cross-entropy of each network over the whole split (collective).

    Args:
        runtime: This process among the others.
        networks: The networks themselves, not their DDP wrappers; their modes stay as they are. Each image is loaded
            once for all of them.
        loader: This process's share of the split.
        normalize: Loader images to network input.
        epoch: Evaluations before this one; the loader has begun this one already.
        each: Called with each batch and the last network's logits, (N, C); returns whether to stop, the same in all
            processes.

    Returns:
        The scores, or None where the evaluation was stopped.
    """
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    sums = torch.stack([metrics.empty(runtime.device) for _ in networks])
    stopped, lead = False, Lead(runtime.device)
    for batch in on_device(loader.epoch(epoch), runtime.device):
        batch_sums, logits = _batch(runtime, networks, batch, normalize)
        sums += batch_sums
        lead.step()
        if stopped := each(batch, logits):
            break
    for network, mode in zip(networks, modes, strict=True):
        network.train(mode)
    if stopped:
        return None
    return [metrics.scores(row) for row in runtime.sum(sums)]  # sums are reduced, then divided, once


@torch.no_grad()
def _batch(
    runtime: Runtime, networks: Sequence[nn.Module], batch: Batch, normalize: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """(networks, metrics.FIELDS) sums over one batch, and the last network's logits."""
    targets, valid = (tensor.to(runtime.device, non_blocking=True) for tensor in (batch.targets, batch.valid))
    images = normalize(batch.images)
    with runtime.autocast():
        logits = [network(images) for network in networks]
    sums = torch.stack([metrics.totals(each.float(), targets, valid) for each in logits])
    if batch.broken:
        sums[:, metrics.BROKEN] += len(batch.broken)
    return sums, logits[-1]

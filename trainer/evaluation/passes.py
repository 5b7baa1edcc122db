"""A network over all images of a split, each counted once, under any protocol."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.catalog.manifest import Manifest
from data.load import backends
from data.load.whole import WholeBatch, WholeLoader, plan_of
from data.plan.config import EvalViews
from data.plan.evaluation import EvalPlan
from data.types import Backend, Batch, Progress
from models.dense import fully_convolutional
from trainer.engine.prefetch import Lead, on_device
from trainer.engine.step import Normalize
from trainer.evaluation.predictions import ANSWERS
from trainer.evaluation.protocol import Protocol
from trainer.runtime import Runtime
from trainer.stopping import StopRequestedError

PIXELS = 8 * 640 * 853  # of whole images, that go through the network together


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What it takes to let a network see a split."""

    runtime: Runtime
    network: nn.Module
    """On the device, in evaluation mode."""
    normalize: Normalize
    protocol: Protocol
    columns: Tensor
    """(K,) int64 on the device: logits that count."""
    targets: Tensor
    """(N,) int64 on the device: for each image of the manifest the place of its class among `columns`."""
    should_stop: Callable[[], bool]
    """Asked after each batch, agreed by all processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Supply:
    """Where the images come from."""

    images: Manifest
    backend: Backend
    batch: int
    """Images per process and pass."""
    max_broken: float
    """Share of the images that may turn out to be broken, 0 to 1."""


@torch.no_grad()
def rows(work: Pass, supply: Supply, advance: Progress) -> Tensor:
    """What the network answers to every image (collective).

    The same batches give the same answers on any number of processes; sums are left to whoever reads the rows.

    Args:
        work: What is done.
        supply: To what.
        advance: Told how many images are done, and of how many, those that only fill up included.

    Returns:
        (N', FIRST_ANSWER + k) float64 on the host, the columns as in `predictions`, of all processes; rows that only
        fill up and those of images that broke are not valid.

    Raises:
        TooManyBrokenError: More images broke than can be borne.
        StopRequestedError: Asked to stop.
    """
    if work.protocol.kind == "multi-scale":
        return _whole(work, supply, advance)
    protocol, runtime = work.protocol, work.runtime
    views = EvalViews(
        side=protocol.crop,
        resize=protocol.resize or None,
        five=protocol.kind == "ten-crop",
        interpolation=protocol.interpolation,
    )
    plan = EvalPlan(manifest=supply.images, views=views, batch=supply.batch, shard=runtime.shard)
    loader = backends.open_loader(
        plan, supply.backend, device=runtime.device, threads=runtime.threads, max_broken=supply.max_broken
    )
    with closing(loader):
        batches = on_device(loader.epoch(0), runtime.device)
        return _gathered(
            work,
            (_of_views(work, batch, views.count) for batch in batches),
            plan.batches_per_epoch,
            supply.batch,
            advance,
        )


def _gathered(work: Pass, found: Iterator[Tensor], count: int, batch: int, advance: Progress) -> Tensor:
    parts, everywhere = list[Tensor](), batch * work.runtime.world.world_size
    lead = Lead(work.runtime.device)
    for done, part in enumerate(found, start=1):
        parts.append(part)  # stays there: some hundred bytes an image
        lead.step()
        advance(done * everywhere, count * everywhere)
        if work.should_stop():
            raise StopRequestedError("a signal")
    return work.runtime.gather(torch.cat(parts)).cpu().flatten(0, 1)


def _of_views(work: Pass, batch: Batch, squares: int) -> Tensor:
    """Rows of a batch whose images have so many squares each, one after the other."""
    device = work.runtime.device
    images = work.normalize(batch.images)
    views = [_log_probabilities(work, images).unflatten(0, (-1, squares))]  # (N, squares, K)
    if work.protocol.views > squares:  # their mirror images too
        views.append(_log_probabilities(work, images.flip(3)).unflatten(0, (-1, squares)))
    indices, valid = batch.indices.to(device)[::squares], batch.valid.to(device).unflatten(0, (-1, squares)).all(1)
    return _rows(work, _mean(torch.cat(views, 1)), indices, valid)


def _whole(work: Pass, supply: Supply, advance: Progress) -> Tensor:
    plan = plan_of(supply.images, work.protocol.interpolation, supply.batch, work.runtime.shard)
    loader = WholeLoader(plan, work.protocol.scales, threads=work.runtime.threads, max_broken=supply.max_broken)
    found = (_of_scales(work, batch) for batch in loader.batches())
    with _any_shape():
        return _gathered(work, found, loader.batches_per_epoch, supply.batch, advance)


def _of_scales(work: Pass, batch: WholeBatch) -> Tensor:
    """Rows of a batch whose images are whole, at several scales; those of one shape go through the network together."""
    device, views = work.runtime.device, 2 * len(work.protocol.scales)
    total = torch.zeros(len(batch.indices), views, len(work.columns), device=device)
    for scale, members in _by_shape(batch):
        images = work.normalize(torch.stack([batch.images[row][scale] for row in members]))
        for side, seen in enumerate((images, images.flip(3))):
            total[members, 2 * scale + side] = _log_probabilities(work, seen)
    return _rows(work, _mean(total), batch.indices.to(device), batch.valid.to(device))


def _by_shape(batch: WholeBatch) -> Iterator[tuple[int, list[int]]]:
    """A scale, and rows whose images are there of one shape: no more than memory bears."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, scaled in enumerate(batch.images):
        for scale, image in enumerate(scaled):
            groups[(scale, *image.shape)].append(row)
    for (scale, height, width, _), rows in groups.items():
        count = max(1, PIXELS // (height * width))
        yield from ((scale, rows[start : start + count]) for start in range(0, len(rows), count))


@contextmanager
def _any_shape() -> Iterator[None]:
    """Keep cuDNN from trying all its algorithms for every shape anew, of which there are thousands."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _log_probabilities(work: Pass, images: Tensor) -> Tensor:
    """(N, K) float32."""
    with work.runtime.autocast():
        logits = work.network(images)
    return logits.float()[:, work.columns].log_softmax(1)


def _mean(log_probabilities: Tensor) -> Tensor:
    """(N, V, K) -> (N, K) of the mean of the probabilities of the views."""
    views = log_probabilities.shape[1]
    if views == 1:
        return log_probabilities[:, 0]
    return log_probabilities.logsumexp(1) - math.log(views)


def _rows(work: Pass, log_probabilities: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
    best = log_probabilities.topk(min(ANSWERS, len(work.columns)), dim=1)
    losses = -log_probabilities.gather(1, work.targets[indices][:, None])[:, 0]
    columns = [indices.double(), valid.double(), losses.double(), best.values[:, 0].exp().double()]
    return torch.cat([torch.stack(columns, 1), work.columns[best.indices].double()], 1)


def prepared(network: nn.Module, protocol: Protocol, image_size: int) -> nn.Module:
    """The network in the form that the protocol asks for.

    Raises:
        ValueError: It cannot take that form.
    """
    if protocol.kind == "multi-scale":
        if min(protocol.scales) < image_size:
            raise ValueError(f"its crops have {image_size} px; name scales that are no smaller")
        fully_convolutional(network, image_size)
    return network

"""Runs a network on all images of a split, each counted once, under any protocol."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.catalog.manifest import Manifest
from data.load import backends
from data.load.whole import WholeBatch, WholeLoader, plan_of
from data.plan.evaluation import EvalPlan
from data.types import Backend, Batch, Progress
from models.dense import fully_convolutional
from trainer.engine.prefetch import Lead, on_device
from trainer.engine.step import Normalize
from trainer.evaluation.predictions import ANSWERS
from trainer.evaluation.protocol import Protocol
from trainer.runtime import Runtime
from trainer.stopping import StopRequestedError

PIXELS = 8 * 640 * 853  # of whole images in one forward pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """A network, and the images to run it on."""

    runtime: Runtime
    network: nn.Module
    """On the device, in evaluation mode."""
    normalize: Normalize
    protocol: Protocol
    images: Manifest
    backend: Backend
    batch: int
    """Images per process and forward pass."""
    max_broken: float
    """Largest share of the images that may be broken, 0 to 1."""
    columns: Tensor
    """(K,) int64 on the device: indices of the logits that are used."""
    targets: Tensor | None
    """(N,) int64 on the device: for each image of the manifest the index of its class in `columns`; None: not known."""
    answers: int = ANSWERS
    """Answers to each image."""
    should_stop: Callable[[], bool]
    """Asked after each batch, agreed by all processes."""


@torch.no_grad()
def rows(work: Pass, advance: Progress) -> Tensor:
    """What the network answers to every image (collective).

    The same batches give the same answers on any number of processes.

    Args:
        work: The network and the images.
        advance: Is called with the number of images that are done, and of all, padding included.

    Returns:
        (N', FIRST_ANSWER + k) float64 on the host, the columns as in `predictions`, of all processes; rows of
        padding and of broken images are marked as not valid. Without targets, `INDEX`, `VALID`, then k probabilities
        and k answers.

    Raises:
        TooManyBrokenError: A greater share than `max_broken` broke.
        StopRequestedError: Asked to stop.
    """
    if work.protocol.kind == "multi-scale":
        return _whole(work, advance)
    views, runtime = work.protocol.squares, work.runtime
    plan = EvalPlan(manifest=work.images, views=views, batch=work.batch, shard=runtime.shard)
    loader = backends.open_loader(
        plan, work.backend, device=runtime.device, threads=runtime.threads, max_broken=work.max_broken
    )
    with closing(loader):
        batches = (_of_views(work, batch, views.count) for batch in on_device(loader.epoch(0), runtime.device))
        return _gathered(work, batches, plan.batches_per_epoch, advance)


def _gathered(work: Pass, batches: Iterator[Tensor], count: int, advance: Progress) -> Tensor:
    """The rows of `count` batches, of all processes."""
    done, everywhere = list[Tensor](), work.batch * work.runtime.world.world_size
    lead = Lead(work.runtime.device)
    for batch in batches:
        done.append(batch)  # stays on the device: some hundred bytes an image
        lead.step()
        advance(len(done) * everywhere, count * everywhere)
        if work.should_stop():
            raise StopRequestedError("a signal")
    return work.runtime.gather(torch.cat(done)).cpu().flatten(0, 1)


def _of_views(work: Pass, batch: Batch, squares: int) -> Tensor:
    """Rows of a batch that holds `squares` consecutive crops of each image."""
    device = work.runtime.device
    images = work.normalize(batch.images)
    views = [_log_probabilities(work, images).unflatten(0, (-1, squares))]  # (N, squares, K)
    if work.protocol.views > squares:  # their mirror images too
        views.append(_log_probabilities(work, images.flip(3)).unflatten(0, (-1, squares)))
    indices, valid = batch.indices.to(device)[::squares], batch.valid.to(device).unflatten(0, (-1, squares)).all(1)
    return _rows(work, torch.cat(views, 1), indices, valid)


def _whole(work: Pass, advance: Progress) -> Tensor:
    plan = plan_of(work.images, work.protocol.squares.interpolation, work.batch, work.runtime.shard)
    loader = WholeLoader(plan, work.protocol.scales, threads=work.runtime.threads, max_broken=work.max_broken)
    batches = (_of_scales(work, batch) for batch in loader.batches())
    # cuDNN would try all its algorithms for each of thousands of shapes
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        return _gathered(work, batches, loader.batches_per_epoch, advance)
    finally:
        torch.backends.cudnn.benchmark = before


def _of_scales(work: Pass, batch: WholeBatch) -> Tensor:
    """Rows of a batch of whole images at several scales; images of one shape go through the network together."""
    device, views = work.runtime.device, 2 * len(work.protocol.scales)
    total = torch.zeros(len(batch.indices), views, len(work.columns), device=device)
    for scale, members in _by_shape(batch):
        images = work.normalize(torch.stack([batch.images[row][scale] for row in members]))
        for side, seen in enumerate((images, images.flip(3))):
            total[members, 2 * scale + side] = _log_probabilities(work, seen)
    return _rows(work, total, batch.indices.to(device), batch.valid.to(device))


def _by_shape(batch: WholeBatch) -> Iterator[tuple[int, list[int]]]:
    """A scale, and rows whose images have one shape at it: at most `PIXELS` together."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, scaled in enumerate(batch.images):
        for scale, image in enumerate(scaled):
            groups[(scale, *image.shape)].append(row)
    for (scale, height, width, _), rows in groups.items():
        count = max(1, PIXELS // (height * width))
        yield from ((scale, rows[start : start + count]) for start in range(0, len(rows), count))


def _log_probabilities(work: Pass, images: Tensor) -> Tensor:
    with work.runtime.autocast():
        logits = work.network(images)
    return logits.float()[:, work.columns].log_softmax(1)


def _rows(work: Pass, views: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
    """Rows of a batch from (N, V, K) log-probabilities: the mean of the probabilities of the V views counts."""
    log_probabilities = views.logsumexp(1) - math.log(views.shape[1])  # (N, K)
    best = log_probabilities.topk(min(work.answers, len(work.columns)), dim=1)
    figures = [best.values.exp()]
    if work.targets is not None:
        figures = [-log_probabilities.gather(1, work.targets[indices][:, None]), best.values[:, :1].exp()]
    columns = (indices[:, None], valid[:, None], *figures, work.columns[best.indices])
    return torch.cat([column.double() for column in columns], 1)


def prepared(network: nn.Module, protocol: Protocol, image_size: int) -> nn.Module:
    """The network in the form that the protocol asks for.

    Raises:
        ValueError: It cannot take that form.
    """
    if protocol.kind == "multi-scale":
        if min(protocol.scales) < image_size:
            raise ValueError(f"its crops have {image_size} px; name scales that are no smaller")
        fully_convolutional(network, image_size)
    elif protocol.squares.side != image_size:  # at which it was evaluated before; a try loads the compiler
        _check_size(network, protocol.squares.side)
    return network


def _check_size(network: nn.Module, side: int) -> None:
    """Refuse a size that one of timm's networks asserts it is not built for, before images are read."""
    try:
        with torch.no_grad():
            copy.deepcopy(network).to("meta").eval()(torch.empty(1, 3, side, side, device="meta"))
    except AssertionError as error:
        raise ValueError(f"its network is not built for images of {side} px: {error}") from None
    except (RuntimeError, NotImplementedError):
        return  # without data it cannot be said

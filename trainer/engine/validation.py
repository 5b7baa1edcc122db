"""The evaluation at the end of an epoch, in which each image counts once at any world size."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from data.types import Batch, Loader
from trainer import gpu, metrics
from trainer.engine.divergence import diverged
from trainer.engine.fit import Fit
from trainer.engine.prefetch import Lead, on_device
from trainer.engine.state import headline
from trainer.engine.step import draw_seed
from trainer.optim import batchnorm
from trainer.runtime import Runtime
from trainer.telemetry.mistakes import Answers, Mistakes
from trainer.telemetry.pictures import LARGEST, wanted
from trainer.telemetry.telemetry import Took


def evaluate_epoch(training: Fit, begun: float) -> bool:
    """Evaluate the epoch that began at `begun` (perf_counter, s); False if asked to stop meanwhile (collective).

    Raises:
        DivergedError: The loss is not finite.
    """
    state, start = training.state, time.perf_counter()
    buffers = [buffer for network in state.networks for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    _settle_statistics(training)
    recipe = training.context.recipe
    mistakes = Mistakes(LARGEST) if wanted(state.evaluated, recipe.epochs) else None
    answers = Answers(recipe.model.num_classes) if state.evaluated + 1 == recipe.epochs else None
    results = evaluate(
        training.context.runtime,
        state.networks,
        training.eval_loader,
        training.normalize,
        state.evaluated,
        _each(training, [each for each in (mistakes, answers) if each]),
    )
    if results is None:  # the next start begins it again from exactly this state
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(old)
        return False
    if not results[0].finite:
        raise diverged(training, f"the evaluation loss is {results[0].loss}", state.step)
    state.evaluated += 1
    state.scores = {weights: asdict(scores) for weights, scores in zip(("raw", "ema"), results, strict=False)}
    state.best_top1 = max(state.best_top1, headline(state)["top1"])
    worst = mistakes.worst(training.context.runtime) if mistakes else []
    confusion = answers.counts(training.context.runtime) if answers else None
    if training.telemetry:
        now = time.perf_counter()
        took = Took(now - start, now - begun)
        training.telemetry.evaluation(state.step, state.evaluated, results, took, state.best_top1, confusion)
        training.telemetry.mistakes(state.step, worst)
    return True


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
    runtime.meet()
    return [metrics.scores(row) for row in runtime.sum(sums)]  # sums are reduced, then divided, once


def _each(training: Fit, watching: Sequence[Mistakes | Answers]) -> Callable[[Batch, Tensor], bool]:
    """A function for each batch of an evaluation: it collects answers, shows progress, and asks whether to stop."""
    total, per_batch = (
        len(training.eval_plan.manifest),
        training.eval_plan.batch * training.context.runtime.world.world_size,
    )
    context, done = training.context, 0
    vote = partial(context.runtime.vote, lambda: context.stop.is_set)
    asked = vote()

    def each(batch: Batch, logits: Tensor) -> bool:
        nonlocal done, asked
        for one in watching:
            one.look(batch, logits)
        done += per_batch
        if training.telemetry:
            context.console.evaluating(min(done, total), total)
        (stop,) = asked()  # of the batch before, so that no rank waits for the answer
        if not stop and done < total:
            asked = vote()
        return stop

    return each


@torch.no_grad()
def _settle_statistics(training: Fit) -> None:
    """Recompute BatchNorm's statistics if the recipe says so, and average them over the ranks (collective)."""
    state, runtime, recipe = training.state, training.context.runtime, training.context.recipe
    for network in state.networks if recipe.precise_bn else ():
        gpu.seed(runtime.device, draw_seed(recipe.seed, state.step, runtime.world.rank, 1))  # for dropout and its like
        count = -(-recipe.precise_bn // (recipe.micro_batch * runtime.world.world_size))
        batches = on_device(islice(training.train_loader.epoch(state.evaluated), count), runtime.device)
        with runtime.autocast():
            batchnorm.recalibrate(network, (training.normalize.training(batch) for batch in batches))
    if runtime.world.world_size > 1:
        mean = runtime.gather(batchnorm.flat(state.networks)).mean(0)
        batchnorm.put(state.networks, mean)


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

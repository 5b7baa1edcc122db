"""The evaluation at the end of an epoch."""

import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice

import torch
from torch import Tensor

from data.types import Batch
from trainer.engine.accuracy import evaluate
from trainer.engine.divergence import diverged
from trainer.engine.fit import Fit
from trainer.engine.prefetch import on_device
from trainer.engine.state import headline
from trainer.engine.step import draw_seed
from trainer.optim import batchnorm
from trainer.telemetry.mistakes import Mistakes
from trainer.telemetry.pictures import LARGEST, wanted
from trainer.telemetry.telemetry import Took


def evaluate_epoch(parts: Fit, begun: float) -> bool:
    """Evaluate the epoch just trained; False where asked to stop in the middle (collective).

    Args:
        parts: The run.
        begun: When the epoch began, seconds of `time.perf_counter`.

    Raises:
        DivergedError: The loss is not a number.
    """
    state, start = parts.state, time.perf_counter()
    buffers = [buffer for network in state.networks for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    _settle_statistics(parts)
    mistakes = Mistakes(LARGEST) if wanted(state.evaluated, parts.context.recipe.epochs) else None
    found = evaluate(
        parts.context.runtime,
        state.networks,
        parts.eval_loader,
        parts.normalize,
        state.evaluated,
        _each(parts, mistakes),
    )
    if found is None:  # it will be begun again from the same state, to the bit
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(old)
        return False
    if not found[0].finite:
        raise diverged(parts, f"the evaluation loss is {found[0].loss}", state.step)
    state.evaluated += 1
    state.scores = {weights: asdict(scores) for weights, scores in zip(("raw", "ema"), found, strict=False)}
    state.best_top1 = max(state.best_top1, headline(state)["top1"])
    worst = mistakes.worst(parts.context.runtime) if mistakes else []
    if parts.telemetry:
        now = time.perf_counter()
        took = Took(now - start, now - begun)
        parts.telemetry.evaluation(state.step, state.evaluated, found, took, state.best_top1)
        parts.telemetry.mistakes(state.step, worst)
    return True


def _each(parts: Fit, mistakes: Mistakes | None) -> Callable[[Batch, Tensor], bool]:
    """What is done after each batch of an evaluation: look, show how far it is, and ask whether to stop."""
    total, per_batch = len(parts.eval_plan.manifest), parts.eval_plan.batch * parts.context.runtime.world.world_size
    done = 0

    def each(batch: Batch, logits: Tensor) -> bool:
        nonlocal done
        if mistakes:
            mistakes.look(batch, logits)
        done += per_batch
        if parts.telemetry:
            parts.context.console.evaluating(min(done, total), total)
        return parts.context.should_stop()

    return each


@torch.no_grad()
def _settle_statistics(parts: Fit) -> None:
    """Take BatchNorm's statistics anew where the recipe says so, and their mean over the ranks (collective)."""
    state, runtime, recipe = parts.state, parts.context.runtime, parts.context.recipe
    for network in state.networks if recipe.precise_bn else ():
        runtime.seed(draw_seed(recipe.seed, state.step, runtime.world.rank, 1))  # for dropout and its like
        count = -(-recipe.precise_bn // (recipe.micro_batch * runtime.world.world_size))
        batches = on_device(islice(parts.train_loader.epoch(state.evaluated), count), runtime.device)
        with runtime.autocast():
            batchnorm.recalibrate(network, (parts.normalize(batch.images) for batch in batches))
    if runtime.world.world_size > 1:
        mean = runtime.gather(batchnorm.flat(state.networks)).mean(0)
        batchnorm.put(state.networks, mean)

"""The story of a run: epochs of steps, an evaluation after each, checkpoints on the way."""

import time
from dataclasses import asdict, dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from data.plan.plan import TrainPlan
from data.types import Loader
from trainer import metrics
from trainer.evaluate import evaluate
from trainer.keep.files import newest_valid
from trainer.keep.keeper import Keeper
from trainer.learn import batchnorm
from trainer.learn.schedule import learning_rate
from trainer.prefetch import on_device
from trainer.setup import Setup
from trainer.state import TrainState, headline
from trainer.step import Normalize, TrainStep, draw_seed
from trainer.telemetry.telemetry import Point, Telemetry, Waiting
from trainer.telemetry.usage import usage


class DivergedError(ArithmeticError):
    """The loss is not a number any more; the message says since when, and what to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The parts of a run, built and ready."""

    setup: Setup
    train_loader: Loader
    eval_loader: Loader
    train_step: TrainStep
    normalize: Normalize
    state: TrainState
    keeper: Keeper
    plan: TrainPlan
    """What happens to the training images."""
    telemetry: Telemetry | None
    """On rank 0 only."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return self.plan.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.setup.recipe.epochs * self.steps_per_epoch


def fit(parts: Fit) -> bool:
    """Train from the state's step to the end, or until asked to stop (collective).

    Returns:
        True where the run is finished, False where it was stopped; a checkpoint to go on from stands.
    """
    state = parts.state
    while True:
        done = evaluate_epoch(parts) if state.step // parts.steps_per_epoch > state.evaluated else True
        stop, _ = parts.keeper.boundary()
        if stop or not done:
            save(parts)
            break
        if state.step > 0 and state.step % parts.steps_per_epoch == 0:
            save(parts, headline(state)["top1"])
        if state.step == parts.total_steps:
            break
        train_epoch(parts)
    parts.keeper.finish()
    return state.step == parts.total_steps and done and not stop


def train_epoch(parts: Fit) -> None:
    """Train to the end of the epoch that the state is in, or until asked to stop (collective)."""
    state, per_epoch = parts.state, parts.steps_per_epoch
    micro_batches = parts.plan.batches_per_step
    epoch, first = divmod(state.step, per_epoch)
    source = Waiting(parts.train_loader.epoch(epoch, first * micro_batches))
    batches = on_device(source, parts.setup.runtime.device)
    clock = _Clock(state.step)
    for step in range(state.step, (epoch + 1) * per_epoch):
        lr = learning_rate(parts.setup.recipe, step, per_epoch)
        taken = list(islice(batches, micro_batches))
        if broken := sum(len(batch.broken) for batch in taken):
            state.sums[metrics.BROKEN] += broken
        state.sums += parts.train_step(taken, step, lr, parts.plan.images_in(step))
        state.step = step + 1
        if state.step % parts.setup.site.log_every == 0 or state.step % per_epoch == 0:
            log(parts, clock, source, lr)
        stop, due = parts.keeper.boundary()
        if stop:
            return
        if due and state.step % per_epoch:  # the end of an epoch is saved once it is evaluated
            save(parts)


def log(parts: Fit, clock: "_Clock", source: Waiting, lr: float) -> None:
    """Reduce and show what came together since the last point (collective).

    Raises:
        DivergedError: The loss or a gradient is not a number, more often than the recipe bears.
    """
    state = parts.state
    rows = parts.setup.runtime.gather(torch.cat([state.sums, state.faults]))
    sums = rows[:, : metrics.FIELDS].sum(0)
    skipped = _check(parts, sums, rows[:, metrics.FIELDS :].amax(0))
    scores = metrics.scores(sums)
    state.sums.zero_()
    state.broken += scores.broken
    steps, seconds, waited = clock.lap(state.step, source.seconds)
    if parts.telemetry and scores.images:  # none where all steps were passed over
        point = Point(
            step=state.step,
            total_steps=parts.total_steps,
            epoch=(state.step - 1) // parts.steps_per_epoch,
            epochs=parts.setup.recipe.epochs,
            scores=scores,
            broken=state.broken,
            skipped=skipped,
            lr=lr,
            images_per_s=(parts.plan.images_seen(state.step) - parts.plan.images_seen(state.step - steps)) / seconds,
            data_wait=waited / seconds,
            eta_s=(parts.total_steps - state.step) * seconds / steps,
            usage=usage(parts.setup.runtime.device),
        )
        parts.telemetry.train(point)


def evaluate_epoch(parts: Fit) -> bool:
    """Evaluate the epoch just trained; False where asked to stop in the middle (collective).

    Raises:
        DivergedError: The loss is not a number.
    """
    state, runtime = parts.state, parts.setup.runtime
    buffers = [buffer for network in state.networks for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    _settle_statistics(parts)
    found = evaluate(
        runtime, state.networks, parts.eval_loader, parts.normalize, state.evaluated, parts.setup.should_stop
    )
    if found is None:  # it will be begun again from the same state, to the bit
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(old)
        return False
    if not found[0].finite:
        raise _diverged(parts, f"the evaluation loss is {found[0].loss}", state.step)
    state.evaluated += 1
    state.scores = {weights: asdict(scores) for weights, scores in zip(("raw", "ema"), found, strict=False)}
    state.best_top1 = max(state.best_top1, headline(state)["top1"])
    if parts.telemetry:
        parts.telemetry.evaluation(state, found)
    return True


def save(parts: Fit, top1: float | None = None) -> None:
    """Begin to write a checkpoint (collective).

    Args:
        parts: The run.
        top1: Of an evaluation of these very weights, percent.

    Raises:
        DivergedError: The loss is not a number, and the weights are no place to go on from.
    """
    rows = parts.keeper.rows()
    _check(parts, rows["sums"].sum(0), rows["faults"].amax(0))
    weights = [weight.detach() for weight in parts.state.model.parameters()]
    if not get_total_norm([*weights, rows["statistics"]]).isfinite():  # sync
        raise _diverged(parts, "the weights are not finite numbers", parts.state.step)
    parts.keeper.save(rows, top1)


@torch.no_grad()
def _settle_statistics(parts: Fit) -> None:
    """Take BatchNorm's statistics anew where the recipe says so, and their mean over the ranks (collective)."""
    state, runtime, recipe = parts.state, parts.setup.runtime, parts.setup.recipe
    for network in state.networks if recipe.precise_bn else ():
        runtime.seed(draw_seed(recipe.seed, state.step, runtime.world.rank, 1))  # for dropout and its like
        count = -(-recipe.precise_bn // (recipe.micro_batch * runtime.world.world_size))
        batches = on_device(islice(parts.train_loader.epoch(state.evaluated), count), runtime.device)
        with runtime.autocast():
            batchnorm.recalibrate(network, (parts.normalize(batch.images) for batch in batches))
    if runtime.world.world_size > 1:
        mean = runtime.gather(batchnorm.flat(state.networks)).mean(0)
        batchnorm.put(state.networks, mean)


def _check(parts: Fit, sums: Tensor, faults: Tensor) -> int:
    """Steps passed over so far, as all ranks have them.

    Raises:
        DivergedError: There are more than the recipe bears.
    """
    first, count = faults.tolist()  # sync
    bearable = parts.setup.recipe.max_skipped
    if count > bearable:
        what = "the loss" if not bearable else f"for the {count:.0f}th time the loss or gradient"
        raise _diverged(parts, f"{what} is not a finite number", round(-first))
    if not sums.isfinite().all():  # sync
        raise _diverged(parts, "the loss is not a finite number", parts.state.step)
    return round(count)


def _diverged(parts: Fit, what: str, step: int) -> DivergedError:
    lr = learning_rate(parts.setup.recipe, max(step - 1, 0), parts.steps_per_epoch)
    return DivergedError(
        f"{what}; training has diverged, first at step {step}, learning rate {lr:.3g}\n"
        f"  lower optimizer.lr, lengthen the schedule's warm-up or set clip_norm or max_skipped, and name another "
        f"--output; last good checkpoint: {newest_valid(parts.setup.run.checkpoints) or 'none yet'}"
    )


class _Clock:
    """Time between log points."""

    def __init__(self, step: int) -> None:
        self._step, self._time, self._waited = step, time.perf_counter(), 0.0

    def lap(self, step: int, waited: float) -> tuple[int, float, float]:
        """Steps, seconds and seconds of waiting since the last lap, and begin the next."""
        now = time.perf_counter()
        lap = step - self._step, now - self._time, waited - self._waited
        self._step, self._time, self._waited = step, now, waited
        return lap

"""The story of a run: epochs of steps, an evaluation after each, a checkpoint behind both."""

import time
from dataclasses import asdict, dataclass
from itertools import islice

from data.plan.plan import TrainPlan
from data.types import Loader
from trainer import checkpoint, metrics
from trainer.evaluate import evaluate
from trainer.prefetch import on_device
from trainer.schedule import learning_rate
from trainer.setup import Setup
from trainer.state import TrainState
from trainer.step import Normalize, TrainStep
from trainer.telemetry import Point, Telemetry, Waiting


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
        True where the run is finished, False where it was stopped, with a checkpoint to go on from.
    """
    state = parts.state
    while True:
        done = evaluate_epoch(parts) if state.step // parts.steps_per_epoch > state.evaluated else True
        if not done or parts.setup.should_stop():
            save(parts)
            return False
        if state.step > 0 and state.step % parts.steps_per_epoch == 0:
            save(parts)
        if state.step == parts.total_steps:
            return True
        train_epoch(parts)


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
        if parts.setup.should_stop():
            return


def log(parts: Fit, clock: "_Clock", source: Waiting, lr: float) -> None:
    """Reduce and show what came together since the last point (collective).

    Raises:
        DivergedError: The loss is not a number.
    """
    state = parts.state
    scores = metrics.scores(parts.setup.runtime.sum(state.sums))
    if not scores.finite:
        raise _diverged(parts, "training loss", scores.loss)
    state.sums.zero_()
    state.broken += scores.broken
    steps, seconds, waited = clock.lap(state.step, source.seconds)
    if parts.telemetry:
        point = Point(
            step=state.step,
            total_steps=parts.total_steps,
            epoch=(state.step - 1) // parts.steps_per_epoch,
            epochs=parts.setup.recipe.epochs,
            scores=scores,
            broken=state.broken,
            lr=lr,
            images_per_s=(parts.plan.images_seen(state.step) - parts.plan.images_seen(state.step - steps)) / seconds,
            data_wait=waited / seconds,
            eta_s=(parts.total_steps - state.step) * seconds / steps,
        )
        parts.telemetry.train(point)


def evaluate_epoch(parts: Fit) -> bool:
    """Evaluate the epoch just trained; False where asked to stop in the middle (collective).

    Raises:
        DivergedError: The loss is not a number.
    """
    state = parts.state
    # each rank's BatchNorm has seen its own images since the last forward pass began; a checkpoint holds rank 0's
    parts.setup.runtime.share_buffers(state.model)
    scores = evaluate(
        parts.setup.runtime, state.model, parts.eval_loader, parts.normalize, state.evaluated, parts.setup.should_stop
    )
    if scores is None:
        return False
    if not scores.finite:
        raise _diverged(parts, "evaluation loss", scores.loss)
    state.evaluated += 1
    state.scores = asdict(scores)
    state.best_top1 = max(state.best_top1, scores.top1)
    if parts.telemetry:
        parts.telemetry.evaluation(state.step, state.evaluated, scores, state.best_top1)
    return True


def save(parts: Fit) -> None:
    """Write a checkpoint; no rank goes on before it stands (collective).

    Raises:
        DivergedError: The loss is not a number, and the weights are no place to go on from.
    """
    state, setup = parts.state, parts.setup
    total = setup.runtime.sum(state.sums)
    if not total.isfinite().all():  # sync
        raise _diverged(parts, "training loss", float("nan"))
    state.sums.copy_(total) if setup.runtime.is_main else state.sums.zero_()  # the file holds rank 0's, so all of it
    if setup.runtime.is_main:
        content = {**state.state_dict(), "network": asdict(setup.recipe.model)}  # so that the file says whose it is
        checkpoint.save(setup.run.checkpoints, state.step, content, setup.site.keep_checkpoints)
    setup.runtime.barrier()


def _diverged(parts: Fit, what: str, loss: float) -> DivergedError:
    lr = learning_rate(parts.setup.recipe, max(parts.state.step - 1, 0), parts.steps_per_epoch)
    return DivergedError(
        f"the {what} is {loss} at step {parts.state.step}, learning rate {lr:.3g}: training has diverged\n"
        f"  lower optimizer.lr or lengthen schedule.warmup_epochs and name another --output; earlier checkpoints: "
        f"{parts.setup.run.checkpoints}"
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

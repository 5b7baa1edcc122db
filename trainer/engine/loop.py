"""The training loop: epochs of steps, an evaluation after each, and checkpoints."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from data.types import Batch
from trainer import metrics
from trainer.engine.divergence import WEIGHTS, check, diverged
from trainer.engine.fit import Fit
from trainer.engine.meter import NORMS
from trainer.engine.prefetch import Lead, on_device
from trainer.engine.state import headline
from trainer.engine.validation import evaluate_epoch
from trainer.hangs import Watch
from trainer.metrics import Scores
from trainer.recipe.schedule import learning_rate
from trainer.telemetry.device import usage
from trainer.telemetry.pictures import wanted
from trainer.telemetry.point import Counts, Learning, Pace, Point


def fit(training: Fit) -> bool:
    """Train from the state's step to the end, or until asked to stop (collective).

    Returns:
        True if the run is finished, False if it was stopped; it is saved in either case.
    """
    runtime, phases = training.context.runtime, training.train_step.phases
    with Watch(training.context.run, runtime.world, lambda: runtime.begun + phases.begun):
        return _fit(training)


def _fit(training: Fit) -> bool:
    state, begun = training.state, time.perf_counter()
    while True:
        done = evaluate_epoch(training, begun) if state.step // training.steps_per_epoch > state.evaluated else True
        stop, _ = training.keeper.boundary()
        if stop or not done:
            save(training)
            break
        if state.step > 0 and state.step % training.steps_per_epoch == 0:
            save(training, headline(state)["top1"])
        if state.step == training.total_steps:
            break
        begun = time.perf_counter()
        train_epoch(training)
    training.keeper.finish()
    return state.step == training.total_steps and done and not stop


def train_epoch(training: Fit) -> None:
    """Train to the end of the epoch that the state is in, or until asked to stop (collective).

    What all ranks do after a step is decided by a vote that begins before it, so that no rank waits for the answer. At
    the end no vote is open.
    """
    state, per_epoch, phases = training.state, training.steps_per_epoch, training.train_step.phases
    epoch, first = divmod(state.step, per_epoch)
    source = training.train_loader.epoch(epoch, first * training.plan.batches_per_step)
    batches = on_device(source, training.context.runtime.device, phases)
    lead, logging = Lead(training.context.runtime.device), Logging(training)
    training.meter.restart()
    training.keeper.ask()
    for step in range(state.step, (epoch + 1) * per_epoch):
        lr, logged = learning_rate(training.context.recipe, step, per_epoch), is_logged(training, step + 1)
        micro_batches = load(training, batches)
        update(training, micro_batches, lr, observe=logged)
        stop, due = training.keeper.answer()  # sync, and first: a device would wait for a rank that is gone
        lead.step()  # sync
        logging.finish()  # of the step before
        if step == epoch * per_epoch:
            show(training, micro_batches)  # sync
        if logged:
            logging.begin(lr)
        training.profiler.step()
        ended = stop or state.step % per_epoch == 0
        if ended or due:
            logging.settle()  # sync
        if ended:  # the end of an epoch is saved after its evaluation
            return
        if due:
            phases.begin("checkpoint")
            save(training)  # sync
        training.keeper.ask()


def is_logged(training: Fit, step: int) -> bool:
    """Whether a step, counted from 1, is a log point; the last of an epoch always is."""
    return step % training.context.site.log_every == 0 or step % training.steps_per_epoch == 0


def load(training: Fit, batches: Iterator[Batch]) -> list[Batch]:
    """The next step's micro-batches; counts replaced images, and batches that DALI failed to decode."""
    training.train_step.phases.begin("data_wait")
    micro_batches = list(islice(batches, training.plan.batches_per_step))
    if broken := sum(len(batch.broken) for batch in micro_batches):
        training.state.sums[metrics.BROKEN] += broken
    if refusals := sum(batch.refusals for batch in micro_batches):
        training.state.sums[metrics.REFUSALS] += refusals
    return micro_batches


def update(training: Fit, micro_batches: Sequence[Batch], lr: float, *, observe: bool) -> None:
    """Train one step (collective); if `observe`, rank 0 measures the gradient's norm."""
    state, observe = training.state, observe and training.telemetry is not None
    images = training.plan.images_in(state.step)
    state.sums += training.train_step(micro_batches, state.step, lr, images, observe=observe)
    state.step += 1


def show(training: Fit, micro_batches: Sequence[Batch]) -> None:
    """Write the images of the step just done to TensorBoard, in some epochs (collective)."""
    training.context.runtime.meet()  # rank 0 waits for the device
    if training.telemetry and wanted(
        (training.state.step - 1) // training.steps_per_epoch, training.context.recipe.epochs
    ):
        training.telemetry.batch(training.state.step, *training.train_step.as_seen(micro_batches[0]))


class Logging:
    """Reduces and logs the sums since the last point while the next step is computed: no device waits for them."""

    def __init__(self, training: Fit) -> None:
        self._training, runtime = training, training.context.runtime
        self._alone = runtime.world.world_size == 1 and runtime.device.type == "cpu"
        self._finish: Callable[[], None] | None = None

    def begin(self, lr: float) -> None:
        """Begin to reduce the figures of the steps up to now, the last with this learning rate (collective)."""
        training, state = self._training, self._training.state
        own_s = state.sums.new_full((1,), training.meter.own_s)  # a new_tensor would wait for a GPU
        norms = training.meter.norms() if training.telemetry else state.sums.new_zeros(NORMS)
        rows = training.context.runtime.gathering(torch.cat([state.sums, state.faults, own_s, norms]))
        state.sums.zero_()
        self._finish = partial(_log, training, state.step, lr, rows, training.meter.cut())
        if self._alone:  # there is nothing to wait for
            self.finish()

    def finish(self) -> None:
        """Log what was begun, if anything, once all ranks are known to have begun it (collective).

        Raises:
            DivergedError: The loss or a gradient was not finite, more often than the recipe allows.
        """
        if finish := self._finish:
            self._finish = None
            finish()

    def settle(self) -> None:
        """`finish` at once (collective); raises the same."""
        if self._finish:
            self._training.context.runtime.meet()
            self.finish()


def _log(training: Fit, step: int, lr: float, rows: Callable[[], Tensor], pace_of_lap: Callable[[], Pace]) -> None:
    gathered = rows()  # sync
    sums, faults, own_s, norms = gathered.split([metrics.FIELDS, 2, 1, NORMS], dim=1)
    total, state = sums.sum(0), training.state
    skipped = check(training, total, faults.amax(0), step)
    if not norms[0, 0].isfinite():
        raise diverged(training, WEIGHTS, step)
    slowest = training.meter.stragglers.compare(own_s.flatten().tolist())
    scores = metrics.scores(total)
    state.broken += scores.broken
    pace = pace_of_lap()  # also where nothing is logged: the next point compares the ranks by it
    if training.telemetry and scores.images:  # none if all steps were skipped
        counts = Counts(
            images_seen=training.plan.images_seen(step),
            replaced=state.broken,
            quarantined=sum(len(plan.manifest.broken) for plan in (training.plan, training.eval_plan)),
            decoder_restarts=round(total[metrics.REFUSALS].item()),
            skipped=skipped,
        )
        learning = training.meter.learning(lr, norms[0].tolist())
        training.telemetry.train(replace(point(training, step, scores, counts, learning, pace), slowest=slowest))


def point(training: Fit, step: int, scores: Scores, counts: Counts, learning: Learning, pace: Pace) -> Point:
    """The figures of the steps since the last log point up to `step`."""
    return Point(
        step=step,
        total_steps=training.total_steps,
        epoch=(step - 1) // training.steps_per_epoch,
        epochs=training.context.recipe.epochs,
        scores=scores,
        counts=counts,
        learning=learning,
        pace=pace,
        eta_s=(training.total_steps - step) * pace.step_s,
        usage=usage(training.context.runtime.device),
    )


def save(training: Fit, top1: float | None = None) -> None:
    """Begin to write a checkpoint (collective); `top1`: of an evaluation of these very weights, percent.

    Raises:
        DivergedError: The loss or the weights are not finite.
    """
    training.context.runtime.meet()
    if training.telemetry:
        training.state.records = training.telemetry.journal.records
    rows = training.keeper.rows()
    check(training, rows["sums"].sum(0), rows["faults"].amax(0), training.state.step)
    weights = [weight.detach() for weight in training.state.model.parameters()]
    if not get_total_norm([*weights, rows["statistics"]]).isfinite():  # sync
        raise diverged(training, WEIGHTS, training.state.step)
    training.keeper.save(rows, top1)

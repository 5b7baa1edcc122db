"""The story of a run: epochs of steps, an evaluation after each, checkpoints on the way."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.nn.utils import get_total_norm

from data.types import Batch
from trainer import metrics
from trainer.engine.divergence import check, diverged
from trainer.engine.fit import Fit
from trainer.engine.prefetch import Lead, on_device
from trainer.engine.state import headline
from trainer.engine.validation import evaluate_epoch
from trainer.metrics import Scores
from trainer.recipe.schedule import learning_rate
from trainer.telemetry.device import usage
from trainer.telemetry.pictures import wanted
from trainer.telemetry.point import Counts, Pace, Point


def fit(parts: Fit) -> bool:
    """Train from the state's step to the end, or until asked to stop (collective).

    Returns:
        True where the run is finished, False where it was stopped; a checkpoint to go on from stands.
    """
    state, begun = parts.state, time.perf_counter()
    while True:
        done = evaluate_epoch(parts, begun) if state.step // parts.steps_per_epoch > state.evaluated else True
        stop, _ = parts.keeper.boundary()
        if stop or not done:
            save(parts)
            break
        if state.step > 0 and state.step % parts.steps_per_epoch == 0:
            save(parts, headline(state)["top1"])
        if state.step == parts.total_steps:
            break
        begun = time.perf_counter()
        train_epoch(parts)
    parts.keeper.finish()
    return state.step == parts.total_steps and done and not stop


def train_epoch(parts: Fit) -> None:
    """Train to the end of the epoch that the state is in, or until asked to stop (collective).

    What all ranks do after a step is decided by a vote from before it, so that nobody waits for its answer; none is
    left open at the end.
    """
    state, per_epoch, phases = parts.state, parts.steps_per_epoch, parts.train_step.phases
    epoch, first = divmod(state.step, per_epoch)
    source = parts.train_loader.epoch(epoch, first * parts.plan.batches_per_step)
    batches = on_device(source, parts.context.runtime.device, phases)
    lead = Lead(parts.context.runtime.device)
    parts.meter.restart()
    parts.keeper.ask()
    for step in range(state.step, (epoch + 1) * per_epoch):
        lr, logged = learning_rate(parts.context.recipe, step, per_epoch), is_logged(parts, step + 1)
        micro_batches = load(parts, batches)
        update(parts, micro_batches, lr, observe=logged)
        stop, due = parts.keeper.answer()  # sync, and first: a device waits in vain for a rank that is gone
        lead.step()  # sync
        if step == epoch * per_epoch:
            show(parts, micro_batches)  # sync
        if logged:
            log(parts, lr)  # sync
        parts.profiler.step()
        if stop or state.step % per_epoch == 0:  # the end of an epoch is saved once it is evaluated
            return
        if due:
            phases.begin("checkpoint")
            save(parts)  # sync
        parts.keeper.ask()


def is_logged(parts: Fit, step: int) -> bool:
    """Whether a step, counted from 1, is a log point; the last of an epoch always is."""
    return step % parts.context.site.log_every == 0 or step % parts.steps_per_epoch == 0


def load(parts: Fit, batches: Iterator[Batch]) -> list[Batch]:
    """The next step's micro-batches; counts the images that were replaced and the batches that DALI refused."""
    parts.train_step.phases.begin("data_wait")
    micro_batches = list(islice(batches, parts.plan.batches_per_step))
    if broken := sum(len(batch.broken) for batch in micro_batches):
        parts.state.sums[metrics.BROKEN] += broken
    if refusals := sum(batch.refusals for batch in micro_batches):
        parts.state.sums[metrics.REFUSALS] += refusals
    return micro_batches


def update(parts: Fit, micro_batches: Sequence[Batch], lr: float, *, observe: bool) -> None:
    """Take the state one step further (collective); rank 0 takes the gradient's norm where told to `observe`."""
    state, observe = parts.state, observe and parts.telemetry is not None
    images = parts.plan.images_in(state.step)
    state.sums += parts.train_step(micro_batches, state.step, lr, images, observe=observe)
    state.step += 1


def show(parts: Fit, micro_batches: Sequence[Batch]) -> None:
    """Let TensorBoard have the images of the step just done, in some epochs (collective)."""
    parts.context.runtime.meet()  # rank 0 waits for the device
    if parts.telemetry and wanted((parts.state.step - 1) // parts.steps_per_epoch, parts.context.recipe.epochs):
        parts.telemetry.batch(parts.state.step, *parts.train_step.as_seen(micro_batches[0]))


def log(parts: Fit, lr: float) -> None:
    """Reduce and show what came together since the last point (collective).

    Raises:
        DivergedError: The loss or a gradient is not a number, more often than the recipe bears.
    """
    state = parts.state
    parts.context.runtime.meet()
    rows = parts.context.runtime.gather(torch.cat([state.sums, state.faults]))
    sums = rows[:, : metrics.FIELDS].sum(0)
    skipped = check(parts, sums, rows[:, metrics.FIELDS :].amax(0))
    scores = metrics.scores(sums)
    state.sums.zero_()
    state.broken += scores.broken
    pace, step_s = parts.meter.lap()
    if parts.telemetry and scores.images:  # none where all steps were passed over
        counts = Counts(
            images_seen=parts.plan.images_seen(state.step),
            replaced=state.broken,
            quarantined=sum(len(plan.manifest.broken) for plan in (parts.plan, parts.eval_plan)),
            decoder_restarts=round(sums[metrics.REFUSALS].item()),  # sync
            skipped=skipped,
        )
        parts.telemetry.train(point(parts, scores, counts, lr, pace, step_s))


def point(parts: Fit, scores: Scores, counts: Counts, lr: float, pace: Pace, step_s: float) -> Point:
    """All that is shown of the steps since the last log point, at `step_s` seconds a step."""
    step = parts.state.step
    return Point(
        step=step,
        total_steps=parts.total_steps,
        epoch=(step - 1) // parts.steps_per_epoch,
        epochs=parts.context.recipe.epochs,
        scores=scores,
        counts=counts,
        learning=parts.meter.learning(lr),
        pace=pace,
        eta_s=(parts.total_steps - step) * step_s,
        usage=usage(parts.context.runtime.device),
    )


def save(parts: Fit, top1: float | None = None) -> None:
    """Begin to write a checkpoint (collective).

    Args:
        parts: The run.
        top1: Of an evaluation of these very weights, percent.

    Raises:
        DivergedError: The loss is not a number, and the weights are no place to go on from.
    """
    parts.context.runtime.meet()
    rows = parts.keeper.rows()
    check(parts, rows["sums"].sum(0), rows["faults"].amax(0))
    weights = [weight.detach() for weight in parts.state.model.parameters()]
    if not get_total_norm([*weights, rows["statistics"]]).isfinite():  # sync
        raise diverged(parts, "the weights are not finite numbers", parts.state.step)
    parts.keeper.save(rows, top1)

"""Ends a run whose loss, gradient or weights are not finite."""

from torch import Tensor

from trainer.checkpoint.files import newest_valid
from trainer.engine.fit import Fit
from trainer.exits import RunEndedError
from trainer.recipe.schedule import learning_rate

WEIGHTS = "the weights are not finite numbers"


class DivergedError(RunEndedError):
    """The loss is not finite any more; the message says since which step, and what to change."""

    said_by = "main"


def check(training: Fit, sums: Tensor, faults: Tensor, step: int) -> int:
    """The number of steps skipped up to `step`, from the sums and the greatest faults of all processes.

    Raises:
        DivergedError: There are more than the recipe allows.
    """
    first, count = faults.tolist()  # sync
    allowed = training.context.recipe.max_skipped
    if count > allowed:
        subject = "the loss" if not allowed else f"for the {count:.0f}th time the loss or gradient"
        raise diverged(training, f"{subject} is not a finite number", round(-first), step)
    if not sums.isfinite().all():  # sync
        raise diverged(training, "the loss is not a finite number", step)
    return round(count)


def diverged(training: Fit, reason: str, first: int, step: int | None = None) -> DivergedError:
    """The error to raise if something has not been finite since a step, which rank 0 records at `step`, or that one."""
    lr = learning_rate(training.context.recipe, max(first - 1, 0), training.steps_per_epoch)
    if training.telemetry:
        training.telemetry.diverged(first if step is None else step, first, lr, reason)
    return DivergedError(
        f"{reason}; training has diverged, first at step {first}, learning rate {lr:.3g}\n"
        f"  lower optimizer.lr, lengthen the schedule's warm-up or set clip_norm or max_skipped, and name another "
        f"--output; last good checkpoint: {newest_valid(training.context.run.checkpoints) or 'none yet'}"
    )

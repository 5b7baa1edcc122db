"""A loss, a gradient or weights that are not numbers any more."""

from torch import Tensor

from trainer.checkpoint.files import newest_valid
from trainer.engine.fit import Fit
from trainer.exits import RunEndedError
from trainer.recipe.schedule import learning_rate


class DivergedError(RunEndedError):
    """The loss is not a number any more; the message says since when, and what to change."""

    said_by = "main"


def check(parts: Fit, sums: Tensor, faults: Tensor) -> int:
    """Steps passed over so far, as all ranks have them.

    Args:
        parts: The run.
        sums: (metrics.FIELDS,) over all processes.
        faults: (2,) the greatest of all processes, see `TrainState.faults`.

    Raises:
        DivergedError: There are more than the recipe bears.
    """
    first, count = faults.tolist()  # sync
    bearable = parts.context.recipe.max_skipped
    if count > bearable:
        what = "the loss" if not bearable else f"for the {count:.0f}th time the loss or gradient"
        raise diverged(parts, f"{what} is not a finite number", round(-first))
    if not sums.isfinite().all():  # sync
        raise diverged(parts, "the loss is not a finite number", parts.state.step)
    return round(count)


def diverged(parts: Fit, what: str, step: int) -> DivergedError:
    """What to raise where something is not finite since a step."""
    lr = learning_rate(parts.context.recipe, max(step - 1, 0), parts.steps_per_epoch)
    return DivergedError(
        f"{what}; training has diverged, first at step {step}, learning rate {lr:.3g}\n"
        f"  lower optimizer.lr, lengthen the schedule's warm-up or set clip_norm or max_skipped, and name another "
        f"--output; last good checkpoint: {newest_valid(parts.context.run.checkpoints) or 'none yet'}"
    )

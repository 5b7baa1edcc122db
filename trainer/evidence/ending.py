"""The report at the end of a run, whether it has finished, was stopped or diverged. Rank 0 only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from trainer.checkpoint.holder import Hold
from trainer.context import RunContext
from trainer.engine.divergence import DivergedError
from trainer.exits import RunEndedError
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory
from trainer.telemetry.telemetry import conclude


@contextmanager
def reporting(context: RunContext, hold: Hold | None) -> Iterator[None]:
    """Write the report of a run that diverges, too, where this process holds the directory."""
    try:
        yield
    except DivergedError:
        with suppress(OSError, RunEndedError):  # the reason to be told is this one
            if hold:
                report(context.run, None, context.console.say)
        raise


def report(run: RunDirectory, finished: int | None, say: Callable[[str], None]) -> None:
    """Write the report, and of a run that finished with step `finished` also the end in TensorBoard (rank 0 only)."""
    from trainer.evidence import report as pages  # its plotting is slow to import

    try:
        pages.write(run)
    except InvalidConfigError as error:  # of another file in the directory, and not of what was asked for
        raise RunEndedError(f"{error}; the same command completes the report") from None
    if finished is not None:
        conclude(run, finished, say)

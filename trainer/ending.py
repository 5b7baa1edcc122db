"""The end of a run: its result, its weights and its report."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from data.catalog.manifest import Manifest
from trainer import at_work
from trainer.checkpoint import files
from trainer.checkpoint.holder import Hold
from trainer.console import Console
from trainer.context import RunContext
from trainer.engine import build
from trainer.engine.divergence import DivergedError
from trainer.engine.state import TrainState
from trainer.evidence.result import result_of
from trainer.exits import RunEndedError
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.recipe.recipes import load
from trainer.rundir import RunDirectory, write_text
from trainer.stopping import StopFlag
from trainer.telemetry.telemetry import conclude
from trainer.terminal import write


@contextmanager
def reporting(context: RunContext, hold: Hold | None) -> Iterator[None]:
    """Write the report of a run that diverges, too."""
    try:
        yield
    except DivergedError:
        with suppress(OSError, RunEndedError):  # the reason to be told is this one
            if hold:
                _report(context.run, None, context.console.say)
        raise


def conclude_run(context: RunContext, images: tuple[Manifest, Manifest], finished: TrainState | None) -> None:
    """Write the result of a finished run, and the report, and print where the files are (rank 0 only)."""
    run = context.run
    run.begin(context.recipe)  # if it was deleted meanwhile
    if finished:
        result = result_of(context.recipe, finished, *build.plans(context, images))
        _put_weights(run, context.recipe, finished.step)
        write_text(run.result, json.dumps(result, indent=2, allow_nan=False) + "\n")
    _report(run, finished.step if finished else None, context.console.say)
    write(run.guide())


def complete_end(run: RunDirectory, stop: StopFlag) -> int:
    """Complete the end of a finished run that a kill or an error has cut short (rank 0 only); returns exit code 0.

    Raises:
        HeldError: Another process holds the directory: it may be completing the run.
        StopRequestedError: Asked to stop while waiting to see whether it lives.
        OSError: A file cannot be written.
    """
    say = Console().say
    with Hold.take(run.holder, say, stop.check) as hold:
        run.clear()
        at_work.report(run, say)
        hold.check()
        step = max((record["step"] for record in run.records()), default=0)
        if not run.weights.exists() and files.newest_valid(run.checkpoints) == files.place(run.checkpoints, step):
            _put_weights(run, load(str(run.recipe)), step)
            say(f"{run.weights} was gone: copied from the checkpoint of step {step:,}")
        _report(run, step, say)
    return 0


def _put_weights(run: RunDirectory, recipe: Recipe, step: int) -> None:
    """Copy the weights of the result from the run's last checkpoint, whose write has ended."""
    files.copy(files.place(run.checkpoints, step) / (files.EMA if recipe.ema.decay else files.MODEL), run.weights)


def _report(run: RunDirectory, finished: int | None, say: Callable[[str], None]) -> None:
    """Write the report, and of a run that finished with step `finished` also the end in TensorBoard (rank 0 only)."""
    from trainer.evidence import report  # its plotting is slow to import

    try:
        report.write(run)
    except InvalidConfigError as error:  # of another file in the directory, and not of what was asked for
        raise RunEndedError(f"{error}; the same command completes the report") from None
    if finished is not None:
        conclude(run, finished, say)

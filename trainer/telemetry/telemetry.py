"""What a run says of itself while it goes on: metrics.jsonl, TensorBoard, other trackers and the console. Rank 0 only.

metrics.jsonl is the record; the others show the same numbers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from data.plan.plan import TrainPlan
from trainer.context import RunContext
from trainer.metrics import Scores
from trainer.recipe.recipes import dump
from trainer.rundir import METRICS_SCHEMA
from trainer.telemetry import settings, sheets
from trainer.telemetry.metrics_file import Journal
from trainer.telemetry.mistakes import Mistake
from trainer.telemetry.point import Point, Values, flat
from trainer.telemetry.tensorboard import Board, shown
from trainer.telemetry.trackers import Trackers

WAIT = 0.1  # share of the time waiting for data from which a run says so


@dataclass(frozen=True, slots=True)
class Took:
    """Time of an evaluation."""

    evaluation_s: float
    epoch_s: float
    """Of the epoch, as far as this process trained it, evaluation included."""


class Telemetry:
    """The writer of one process's stretch of a run."""

    def __init__(
        self, context: RunContext, plan: TrainPlan, step: int, evaluated: int, environment: dict[str, Any]
    ) -> None:
        """Drop what was logged past the step that training goes on from, and say that it goes on.

        Args:
            context: The run.
            plan: What happens to its training images.
            step: Where it goes on.
            evaluated: Epochs that have been evaluated.
            environment: Facts about this start.
        """
        self._setup, self._plan = context, plan
        self._total_steps = context.recipe.epochs * plan.steps_per_epoch
        self._names = sheets.display_names(plan.manifest.classes)
        self._waits = _Waits(context.console.say)
        self._journal = Journal(context.run, step, evaluated)
        self._restarts = self._journal.starts
        # readers of the events forget points from this step on: a restart gives one curve, without an overlap
        self._board = Board(context.run.path, context.console.say, step + 1, plan.images_seen(step) + 1)
        self._trackers = Trackers(context)
        self._open(step, environment)

    def train(self, point: Point) -> None:
        """Log one point of training."""
        groups = {**point.groups(), "run": {"skipped": point.counts.skipped, "restarts": self._restarts}}
        self._journal.write("train", point.step, {"epoch": point.epoch, **dict(flat(groups))})
        scalars = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        if shown(point.step, self._setup.site.log_every, self._plan.steps_per_epoch, self._total_steps):
            self._board.scalars(point.step, scalars)
            compared = {f"train_{name}": groups["train"][name] for name in ("loss", "top1", "lr")}
            self._board.by_images(point.counts.images_seen, compared)
            self._trackers.log(scalars, point.step)
        self._setup.console.training(point.line(), point.step, point.total_steps)
        self._waits.look(point)

    def evaluation(self, step: int, epoch: int, found: Sequence[Scores], took: Took, best_top1: float) -> None:
        """Log an evaluation of the raw weights, and of the averaged ones where there are such.

        Args:
            step: Optimizer steps done.
            epoch: Number of the epoch that they end, from 1.
            found: Of both.
            took: Its time.
            best_top1: Highest top-1 of the run so far, percent.
        """
        times = {"evaluation_s": round(took.evaluation_s, 3), "epoch_s": round(took.epoch_s, 3)}
        images_seen = self._plan.images_seen(step)
        scalars: Values = {"time/evaluation": took.evaluation_s / took.epoch_s}
        for kind, scores in zip(("eval", "eval_ema"), found, strict=False):
            figures = {"loss": scores.loss, "top1": scores.top1, "top5": scores.top5}
            counts = {"images": scores.images, "broken": scores.broken, "images_seen": images_seen}
            self._journal.write(kind, step, {"epoch": epoch, **figures, **counts, **times})
            scalars |= {f"{kind}/{name}": value for name, value in figures.items()}
            self._board.by_images(images_seen, {f"{kind}_{name}": value for name, value in figures.items()})
        self._board.scalars(step, scalars)
        self._trackers.log(scalars, step)
        self._setup.console.say("\n".join(_evaluation(epoch, found, best_top1)))

    def batch(self, step: int, images: Tensor, targets: Tensor) -> None:
        """Show training images as the network sees them in a step.

        Args:
            step: Number of the step, from 1.
            images: (N, 3, H, W) float, normalised.
            targets: (N,) int64, or (N, C) shares of the classes.
        """
        self._board.picture(
            "images/training", step, sheets.batch(images, targets, self._setup.recipe.input, self._names)
        )

    def mistakes(self, step: int, found: Sequence[Mistake]) -> None:
        """Show the validation images that were worst mistaken."""
        if found:
            self._board.picture("images/mistakes", step, sheets.mistakes(found, self._names))

    def close(self) -> None:
        """Write everything out."""
        self._journal.close()
        self._board.close()
        self._trackers.close()
        self._setup.console.close()

    def _open(self, step: int, environment: dict[str, Any]) -> None:
        recipe = self._setup.recipe
        if not self._restarts:
            kinds = ("eval_ema", "eval") if recipe.ema.decay else ("eval",)
            metrics = (*(f"{kind}/{name}" for kind in kinds for name in ("top1", "top5", "loss")), "train/loss")
            self._board.describe(settings.leaves(recipe), (*metrics, "throughput/images_per_s"))
            self._board.text("recipe", 0, f"```yaml\n{dump(recipe)}```")
        self._board.text("environment", step, f"```json\n{json.dumps(environment, indent=2)}\n```")
        self._journal.write("start", step, {"schema": METRICS_SCHEMA, **environment})


def conclude(context: RunContext, step: int) -> None:
    """Let TensorBoard have the report of a finished run, with its verdict, and know that it is finished."""
    lines = context.run.report.read_text(encoding="utf-8").splitlines()
    board = Board(context.run.path, context.console.say)
    board.text("report", step, "\n".join(line for line in lines if not line.startswith("!")))  # a picture beside it
    board.end()
    board.close()


class _Waits:
    """Says once if waiting for data takes a good part of the time."""

    def __init__(self, say: Any) -> None:
        self._say, self._points, self._said = say, 0, False
        self._waited = self._seconds = 0.0

    def look(self, point: Point) -> None:
        self._points += 1
        if self._points == 1 or self._said:  # the first has the loader's start in it
            return
        seconds = sum(point.pace.lap.step_ms) / 1e3
        self._waited, self._seconds = self._waited + point.pace.data_wait * seconds, self._seconds + seconds
        if self._points > 2 and self._waited > WAIT * self._seconds:
            self._said = True
            share = self._waited / self._seconds
            self._say(
                f"waiting for data takes {share:.0%} of the time: without it training would be "
                f"{1 / (1 - min(share, 0.99)):.1f} times as fast; provenet doctor says what to change"
            )


def _evaluation(epoch: int, found: Sequence[Scores], best_top1: float) -> list[str]:
    names = ("", ", averaged weights")
    lines = [
        f"epoch {epoch}{name}: top-1 {scores.top1:.2f} %, top-5 {scores.top5:.2f} %, loss {scores.loss:.4f} "
        f"on {scores.images:,} images{f', {scores.broken} more are broken' if scores.broken else ''}"
        for name, scores in zip(names, found, strict=False)
    ]
    lines[-1] += f"; best top-1 {best_top1:.2f} %"
    return lines

"""The figures of a run, written to metrics.jsonl, TensorBoard, other trackers and the console. Rank 0 only.

metrics.jsonl, one JSON object a line, is the record; the others show the same figures.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from data.plan.plan import TrainPlan
from trainer import hangs
from trainer.confusion import Confusion
from trainer.context import RunContext
from trainer.metrics import Scores
from trainer.recipe.recipes import dump
from trainer.records import SCHEMA
from trainer.rundir import RunDirectory
from trainer.telemetry import pictures
from trainer.telemetry.journal import Journal
from trainer.telemetry.mistakes import Mistake
from trainer.telemetry.point import Point, Values, flat
from trainer.telemetry.tensorboard import Board, shown
from trainer.telemetry.trackers import Trackers, settings

REPORT = "Report"  # with a capital letter: TensorBoard shows it above the other texts
WAIT = 0.1  # share of the time waiting for data above which a run says so


@dataclass(frozen=True, slots=True)
class Took:
    """Durations of an evaluation and its epoch."""

    evaluation_s: float
    epoch_s: float
    """The part of the epoch that this process trained, and the evaluation."""


class Telemetry:
    """Writes the figures of this start of a run."""

    def __init__(
        self,
        context: RunContext,
        plan: TrainPlan,
        step: int,
        evaluated: int,
        environment: dict[str, Any],
        records: int = 0,
    ) -> None:
        """Drop what was logged past `step`, from which training goes on, and record this start with its environment.

        `records`: how many the checkpoint counted in metrics.jsonl, starts apart.
        """
        self._setup, self._plan = context, plan
        self._total_steps = context.recipe.epochs * plan.steps_per_epoch
        self._names = pictures.display_names(plan.manifest.classes)
        self._waits = _Waits(context.console.say)
        self.journal = Journal(context.run, step, evaluated, context.console.say)
        self._restarts = self.journal.starts
        # readers drop earlier points from this step on, so that a restart gives one curve without an overlap
        self._board = Board(context.run.path, context.console.say, step + 1, plan.images_seen(step) + 1)
        self._trackers = Trackers(context)
        gone = self.journal.gone(step, records)
        for text in gone:
            context.console.say(text)
        self._open(step, environment | ({"gone": gone} if gone else {}))

    def train(self, point: Point) -> None:
        groups = {**point.groups(), "run": {"skipped": point.counts.skipped, "restarts": self._restarts}}
        self.journal.write("train", point.step, {"epoch": point.epoch, **dict(flat(groups))})
        scalars = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        if shown(point.step, self._setup.site.log_every, self._plan.steps_per_epoch, self._total_steps):
            self._board.scalars(point.step, scalars)
            compared = {f"train_{name}": groups["train"][name] for name in ("loss", "top1", "lr")}
            self._board.by_images(point.counts.images_seen, compared)
            self._trackers.log(scalars, point.step)
        self._setup.console.training(point.line(), point.step, point.total_steps)
        self._waits.look(point)
        if point.slowest and point.slowest.slow_points == hangs.SLOW_POINTS:
            run, slow = self._setup.run, point.slowest
            self._setup.console.say(hangs.straggler(run, slow.slowest_rank, slow.slowest_ratio))

    def evaluation(
        self,
        step: int,
        epoch: int,
        results: Sequence[Scores],
        took: Took,
        best_top1: float,
        confusion: Confusion | None = None,
    ) -> None:
        """Log the scores of the raw weights, then of the averaged ones if any, after an epoch counted from 1.

        `best_top1`: highest of the run so far, percent. `confusion`: of the last of them.
        """
        times = {"evaluation_s": round(took.evaluation_s, 3), "epoch_s": round(took.epoch_s, 3)}
        images_seen = self._plan.images_seen(step)
        scalars: Values = {"time/evaluation": took.evaluation_s / took.epoch_s}
        for kind, scores in zip(("eval", "eval_ema"), results, strict=False):
            figures = {"loss": scores.loss, "top1": scores.top1, "top5": scores.top5}
            counts = {"images": scores.images, "broken": scores.broken, "images_seen": images_seen}
            of_last = {"confusion": confusion} if confusion and scores is results[-1] else {}
            self.journal.write(kind, step, {"epoch": epoch, **figures, **counts, **times, **of_last})
            scalars |= {f"{kind}/{name}": value for name, value in figures.items()}
            self._board.by_images(images_seen, {f"{kind}_{name}": value for name, value in figures.items()})
        self._board.scalars(step, scalars)
        self._trackers.log(scalars, step)
        self._setup.console.say("\n".join(_evaluation(epoch, results, best_top1)))

    def diverged(self, step: int, first: int, lr: float, why: str) -> None:
        """Log that training has diverged, first at a step with this learning rate, and for which reason."""
        self.journal.write("diverged", step, {"first": first, "lr": lr, "why": why})
        self._board.text(REPORT, step, f"**Training diverged** at step {first:,}, learning rate {lr:.3g}: {why}.")

    def batch(self, step: int, images: Tensor, targets: Tensor) -> None:
        """Show training images of a step, from 1, as the network sees them; arguments as in `pictures.batch`."""
        self._board.picture(
            "images/training", step, pictures.batch(images, targets, self._setup.recipe.input, self._names)
        )

    def mistakes(self, step: int, worst: Sequence[Mistake]) -> None:
        """Show the validation images that were classified worst."""
        if worst:
            self._board.picture("images/mistakes", step, pictures.mistakes(worst, self._names))

    def close(self) -> None:
        self.journal.close()
        self._board.close()
        self._trackers.close()
        self._setup.console.close()

    def _open(self, step: int, environment: dict[str, Any]) -> None:
        recipe = self._setup.recipe
        if not self._restarts:
            kinds = ("eval_ema", "eval") if recipe.ema.decay else ("eval",)
            metrics = (*(f"{kind}/{name}" for kind in kinds for name in ("top1", "top5", "loss")), "train/loss")
            self._board.describe(settings(recipe), (*metrics, "throughput/images_per_s"))
            self._board.text("recipe", 0, f"```yaml\n{dump(recipe)}```")
        self._board.text("environment", step, f"```json\n{json.dumps(environment, indent=2)}\n```")
        self.journal.write("start", step, {"schema": SCHEMA, **environment})


def conclude(run: RunDirectory, step: int, say: Callable[[str], None]) -> None:
    """Show the report of a finished run in TensorBoard, and mark the run as finished there."""
    lines = run.report.read_text(encoding="utf-8").splitlines()
    board = Board(run.path, say)
    board.text(REPORT, step, "\n".join(line for line in lines if not line.startswith("!")))  # without its plots
    if run.confusion.exists():
        board.picture("images/confusion", step, pictures.of(run.confusion))
    board.end()
    board.close()


class _Waits:
    """Says once if waiting for data takes more than `WAIT` of the time."""

    def __init__(self, say: Any) -> None:
        self._say, self._points, self._said = say, 0, False
        self._waited = self._seconds = 0.0

    def look(self, point: Point) -> None:
        self._points += 1
        if self._points == 1 or self._said:  # the first includes the loader's start
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


def _evaluation(epoch: int, results: Sequence[Scores], best_top1: float) -> list[str]:
    names = ("", ", averaged weights")
    lines = [
        f"epoch {epoch}{name}: top-1 {scores.top1:.2f} %, top-5 {scores.top5:.2f} %, loss {scores.loss:.4f} "
        f"on {scores.images:,} images{f', {scores.broken} more are broken' if scores.broken else ''}"
        for name, scores in zip(names, results, strict=False)
    ]
    lines[-1] += f"; best top-1 {best_top1:.2f} %"
    return lines

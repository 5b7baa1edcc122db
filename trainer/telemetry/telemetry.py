"""What a run says of itself while it goes on: metrics.jsonl, TensorBoard and the console. Rank 0 only.

metrics.jsonl is the record; the others show the same numbers.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from torch.utils.tensorboard import SummaryWriter

from trainer.metrics import Scores
from trainer.rundir import RunDirectory, write_text
from trainer.state import TrainState
from trainer.telemetry.console import Console
from trainer.telemetry.usage import Usage

T = TypeVar("T")


class Waiting(Generic[T]):
    """An iterator that measures how long its consumer waited."""

    def __init__(self, source: Iterable[T]) -> None:
        """Nothing waited for yet."""
        self._source = iter(source)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[T]:
        """Itself."""
        return self

    def __next__(self) -> T:
        """The next item, timed."""
        start = time.perf_counter()
        try:
            return next(self._source)
        finally:
            self.seconds += time.perf_counter() - start


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Training since the last logged step."""

    step: int
    """Optimizer steps done."""
    total_steps: int
    """Optimizer steps of the whole run."""
    epoch: int
    """Epoch that the step belongs to, from 0."""
    epochs: int
    """Epochs of the whole run."""
    scores: Scores
    """Over the images since the last point, of all processes."""
    broken: int
    """Images of the run so far that could not be read or decoded and were replaced."""
    skipped: int
    """Steps of the run so far that were passed over, as their loss or gradient was not finite."""
    lr: float
    """Learning rate of the step."""
    images_per_s: float
    """Of all processes."""
    data_wait: float
    """Share of the time that rank 0 waited for the loader, 0 to 1."""
    eta_s: float
    """Seconds to the end of training at this rate."""
    usage: Usage
    """Of rank 0 and its device."""

    def line(self) -> str:
        """The point in one line."""
        return (
            f"epoch {self.epoch + 1}/{self.epochs}  step {self.step}/{self.total_steps}  loss {self.scores.loss:.3f}  "
            f"top-1 {self.scores.top1:.1f} %  {self.images_per_s:.0f} images/s  "
            f"waiting for data {self.data_wait:.0%}{self._trouble}  ETA {timedelta(seconds=round(self.eta_s))}"
        )

    @property
    def _trouble(self) -> str:
        counts = {"broken images": self.broken, "skipped steps": self.skipped}
        return "".join(f"  {name} {count}" for name, count in counts.items() if count)


class Telemetry:
    """The writer of one process's stretch of a run."""

    def __init__(self, run: RunDirectory, state: TrainState, console: Console, environment: dict[str, Any]) -> None:
        """Drop what was logged past the state that training goes on from, and say that it goes on."""
        self._console = console
        _drop_after(run, state)
        self._metrics = run.metrics.open("a", encoding="utf-8")
        # readers of the events forget points from this step on: a restart gives one curve, without an overlap
        self._board = SummaryWriter(str(run.path), purge_step=state.step + 1)
        self._write("start", state.step, environment)

    def train(self, point: Point) -> None:
        """Log one point of training."""
        learning = {"loss": point.scores.loss, "top1": point.scores.top1, "lr": point.lr}
        speed = {"images_per_s": point.images_per_s, "data_wait": point.data_wait}
        data = {"broken": point.broken}
        faults = {"skipped": point.skipped}
        device = {name: round(value, 3) for name, value in asdict(point.usage).items() if value is not None}
        self._write("train", point.step, {"epoch": point.epoch, **learning, **speed, **data, **faults, **device})
        self._scalars("train", point.step, learning)
        self._scalars("data", point.step, data)
        self._scalars("throughput", point.step, speed)
        self._scalars("device", point.step, device)
        self._console.training(point.line(), point.step, point.total_steps)

    def evaluation(self, state: TrainState, found: list[Scores]) -> None:
        """Log an evaluation of the raw weights, and of the averaged ones where there are such."""
        for kind, scores in zip(("eval", "eval_ema"), found, strict=False):
            shown = {"loss": scores.loss, "top1": scores.top1, "top5": scores.top5}
            counts = {"images": scores.images, "broken": scores.broken}
            self._write(kind, state.step, {"epoch": state.evaluated, **shown, **counts})
            self._scalars(kind, state.step, shown)
        self._board.flush()
        self._console.say("\n".join(_evaluation(state, found)))

    def close(self) -> None:
        """Write everything out."""
        self._metrics.close()
        self._board.close()
        self._console.close()

    def _write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        self._metrics.write(
            json.dumps({"kind": kind, "step": step, **values, "time": round(time.time(), 3)}, allow_nan=False) + "\n"
        )
        self._metrics.flush()

    def _scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)


def _evaluation(state: TrainState, found: list[Scores]) -> list[str]:
    names = ("", ", averaged weights")
    lines = [
        f"epoch {state.evaluated}{name}: top-1 {scores.top1:.2f} %, top-5 {scores.top5:.2f} %, loss {scores.loss:.4f} "
        f"on {scores.images:,} images{f', {scores.broken} more are broken' if scores.broken else ''}"
        for name, scores in zip(names, found, strict=False)
    ]
    lines[-1] += f"; best top-1 {state.best_top1:.2f} %"
    return lines


def _drop_after(run: RunDirectory, state: TrainState) -> None:
    kept = [record for record in run.records() if _stands(record, state)]
    write_text(run.metrics, "".join(json.dumps(record) + "\n" for record in kept))


def _stands(record: dict[str, Any], state: TrainState) -> bool:
    if record["kind"] in ("eval", "eval_ema"):
        return record["epoch"] <= state.evaluated
    return record["kind"] == "start" or record["step"] <= state.step

"""One log point of training: its figures, and their names in metrics.jsonl, TensorBoard and on the console."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta

from trainer.metrics import Scores
from trainer.telemetry.device import Usage
from trainer.telemetry.phases import Lap

Values = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Speed of the steps since the last log point."""

    step_s: float
    """Seconds of a step."""
    images_per_s: float
    """Of all processes."""
    images_per_s_per_device: float
    """Of one process, and its device."""
    tflops_per_s: float
    """Arithmetic of the network on each device, 1e12 operations a second; a backward pass counts as two forward."""
    peak_tflops_per_s: float | None
    """Peak of the device in this precision, as its maker states it; None where it is not known."""
    lap: Lap
    """Phases and steps of rank 0."""

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation, 0 to 1: arithmetic done over the device's peak.

        Reference:
            2204.02311, appendix B.
        """
        return self.tflops_per_s / self.peak_tflops_per_s if self.peak_tflops_per_s else None

    @property
    def data_wait(self) -> float:
        """Share of the time in which the device waited for images, 0 to 1."""
        return self.lap.shares.get("data_wait", 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slowest:
    """The process that worked longest in each step before the last log point, without waiting for others."""

    slowest_rank: int
    slowest_ratio: float
    """How many times as long as the median process."""
    slow_points: int
    """Log points in a row at which it was the slowest, and so by far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """The weights and their gradient at the newest step."""

    lr: float
    """Learning rate of the step."""
    weight_norm: float
    """Of all weights together, after the step."""
    gradient_norm: float | None
    """Of the step's gradient, before it is clipped."""
    loss_scale: float | None
    """Factor of the losses under fp16; None in other precisions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Counts since the start of the run."""

    images_seen: int
    """Training images, of all processes."""
    replaced: int
    """Training images that could not be read or decoded, and were replaced by others."""
    quarantined: int
    """Images of train and val that were left out from the start as broken."""
    decoder_restarts: int
    """Times since the last point that DALI failed to decode a batch and was started again."""
    skipped: int
    """Steps that were skipped, as their loss or gradient was not finite."""


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
    counts: Counts
    learning: Learning
    pace: Pace
    eta_s: float
    """Seconds to the end of training at this rate."""
    usage: Usage
    """Of rank 0 and its device."""
    slowest: Slowest | None = None
    """None where there is only one process."""

    def line(self) -> str:
        """The point in one line."""
        return (
            f"epoch {self.epoch + 1}/{self.epochs}  step {self.step}/{self.total_steps}  "
            f"ETA {timedelta(seconds=round(self.eta_s))}  loss {self.scores.loss:.3f}  "
            f"top-1 {self.scores.top1:.1f} %  {self.pace.images_per_s:.0f} images/s  "
            f"waiting for data {self.pace.data_wait:.0%}{self._trouble}"
        )

    def groups(self) -> dict[str, Values]:
        """Every figure by its group in TensorBoard, which shows `eval` first; unknown ones are left out."""
        return {
            "train": _known(
                loss=self.scores.loss,
                top1=self.scores.top1,
                top5=self.scores.top5,
                **asdict(self.learning),
            ),
            "throughput": _rounded(
                images_per_s=self.pace.images_per_s,
                images_per_s_per_device=self.pace.images_per_s_per_device,
                tflops_per_s=self.pace.tflops_per_s,
                mfu=self.pace.mfu,
                step_p50_ms=self.pace.lap.percentile(50),
                step_p95_ms=self.pace.lap.percentile(95),
                step_max_ms=self.pace.lap.percentile(100),
                **(asdict(self.slowest) if self.slowest else {}),
            ),
            "time": _rounded(**self.pace.lap.shares, host_to_device=self.pace.lap.host_to_device),
            "machine": _rounded(**asdict(self.usage)),
            "input": {name: count for name, count in asdict(self.counts).items() if name != "skipped"},
        }

    @property
    def _trouble(self) -> str:
        counts = {"broken images": self.counts.replaced, "skipped steps": self.counts.skipped}
        return "".join(f"  {name} {count}" for name, count in counts.items() if count)


def flat(groups: dict[str, Values]) -> Iterator[tuple[str, float]]:
    """The figures without their groups, as in metrics.jsonl."""
    for values in groups.values():
        yield from values.items()


def _known(**values: float | None) -> Values:
    return {name: value for name, value in values.items() if value is not None}


def _rounded(**values: float | None) -> Values:
    """Measured times and sizes to four decimals; more would be noise."""
    return {name: round(value, 4) for name, value in _known(**values).items()}

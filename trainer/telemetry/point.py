"""Training since the last logged step: what is measured, and how a record, TensorBoard and the console call it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from trainer.metrics import Scores
from trainer.telemetry.device import Usage
from trainer.telemetry.phases import Lap

Values = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast it went."""

    images_per_s: float
    """Of all processes."""
    images_per_s_per_device: float
    """Of one process, and its device."""
    tflops_per_s: float
    """Arithmetic that the network asks of each device, 1e12 operations a second: a forward pass, and two backward."""
    peak_tflops_per_s: float | None
    """What the device's maker states for the precision; None where it is not known."""
    lap: Lap
    """Phases and steps of rank 0."""

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation, 0 to 1: arithmetic done, of what the device could.

        Reference:
            2204.02311, appendix B.
        """
        return self.tflops_per_s / self.peak_tflops_per_s if self.peak_tflops_per_s else None

    @property
    def data_wait(self) -> float:
        """Share of the time in which the device waited for images, 0 to 1."""
        return self.lap.shares.get("data_wait", 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What became of the weights."""

    lr: float
    """Learning rate of the step."""
    weight_norm: float
    """Of all weights together, after the step."""
    gradient_norm: float | None
    """Of the step's gradient, before it is clipped."""
    loss_scale: float | None
    """What fp16's losses are multiplied by; None in other precisions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What the run has counted since its beginning."""

    images_seen: int
    """Training images, of all processes."""
    replaced: int
    """Images that could not be read or decoded on the way, and for which others stood in."""
    quarantined: int
    """Images that were left out from the start, of training and validation."""
    refusals: int
    """Times since the last point that DALI could not decode a batch and was started again."""
    skipped: int
    """Steps that were passed over, as their loss or gradient was not finite."""


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

    def line(self) -> str:
        """The point in one line."""
        return (
            f"epoch {self.epoch + 1}/{self.epochs}  step {self.step}/{self.total_steps}  "
            f"ETA {timedelta(seconds=round(self.eta_s))}  loss {self.scores.loss:.3f}  "
            f"top-1 {self.scores.top1:.1f} %  {self.pace.images_per_s:.0f} images/s  "
            f"waiting for data {self.pace.data_wait:.0%}{self._trouble}"
        )

    def groups(self) -> dict[str, Values]:
        """Every number by TensorBoard's groups; what is not known here is left out."""
        return {
            "train": _known(
                loss=self.scores.loss,
                top1=self.scores.top1,
                top5=self.scores.top5,
                lr=self.learning.lr,
                weight_norm=self.learning.weight_norm,
                gradient_norm=self.learning.gradient_norm,
                loss_scale=self.learning.loss_scale,
            ),
            "throughput": _rounded(
                images_per_s=self.pace.images_per_s,
                images_per_s_per_device=self.pace.images_per_s_per_device,
                tflops_per_s=self.pace.tflops_per_s,
                mfu=self.pace.mfu,
                step_p50_ms=self.pace.lap.percentile(50),
                step_p95_ms=self.pace.lap.percentile(95),
                step_max_ms=self.pace.lap.percentile(100),
            ),
            "time": _rounded(**self.pace.lap.shares, host_to_device=self.pace.lap.host_to_device),
            "device": _rounded(
                memory_gb=self.usage.memory_gb,
                device_memory_gb=self.usage.device_memory_gb,
                host_memory_gb=self.usage.host_memory_gb,
                power_w=self.usage.power_w,
            ),
            "data": {
                "images_seen": self.counts.images_seen,
                "replaced": self.counts.replaced,
                "quarantined": self.counts.quarantined,
                "decoder_restarts": self.counts.refusals,
            },
        }

    @property
    def _trouble(self) -> str:
        counts = {"broken images": self.counts.replaced, "skipped steps": self.counts.skipped}
        return "".join(f"  {name} {count}" for name, count in counts.items() if count)


def flat(groups: dict[str, Values]) -> Iterator[tuple[str, float]]:
    """The numbers without their groups, as a record has them."""
    for values in groups.values():
        yield from values.items()


def _known(**values: float | None) -> Values:
    return {name: value for name, value in values.items() if value is not None}


def _rounded(**values: float | None) -> Values:
    """Measured times and sizes: four digits behind the point, more would be noise."""
    return {name: round(value, 4) for name, value in _known(**values).items()}

"""The schedules of the learning rate that a recipe can name. Standard library only."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """What every schedule has: a linear warm-up from zero before it (1706.02677, section 2.2)."""

    warmup_epochs: float = field(default=0.0, metadata={"min": 0})
    """Epochs in which the learning rate rises to its peak."""
    warmup_steps: int = field(default=0, metadata={"min": 0})
    """Length of the warm-up in optimizer steps; set this or `warmup_epochs`, not both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepScheduleConfig(ScheduleConfig):
    """Divide the learning rate at fixed epochs."""

    name: Literal["step"] = "step"
    """Kind of schedule."""
    milestones: tuple[float, ...] = field(default=(30.0, 60.0, 80.0), metadata={"above": 0})
    """Epochs, in rising order, at which the learning rate is multiplied by `gamma`."""
    gamma: float = field(default=0.1, metadata={"above": 0, "below": 1})
    """Factor at each milestone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CosineScheduleConfig(ScheduleConfig):
    """Half a cosine from the peak, after the warm-up, to `final_lr` (1608.03983, without restarts)."""

    name: Literal["cosine"] = "cosine"
    """Kind of schedule."""
    final_lr: float = field(default=0.0, metadata={"min": 0})
    """Learning rate after the last step, at most the peak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearScheduleConfig(ScheduleConfig):
    """A straight line from the peak, after the warm-up, to `final_lr`."""

    name: Literal["linear"] = "linear"
    """Kind of schedule."""
    final_lr: float = field(default=0.0, metadata={"min": 0})
    """Learning rate after the last step, at most the peak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstantScheduleConfig(ScheduleConfig):
    """The peak, after the warm-up, to the end."""

    name: Literal["constant"] = "constant"
    """Kind of schedule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolynomialScheduleConfig(ScheduleConfig):
    """A power of the share of steps that are left, from the peak, after the warm-up, to `final_lr`."""

    name: Literal["polynomial"] = "polynomial"
    """Kind of schedule."""
    final_lr: float = field(default=0.0, metadata={"min": 0})
    """Learning rate after the last step, at most the peak."""
    power: float = field(default=2.0, metadata={"above": 0})
    """Exponent: 2 in recipes with LARS (1709.05011), 1 for a straight line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PiecewiseScheduleConfig(ScheduleConfig):
    """Straight lines between points, at every step, as fast recipes have it; it brings its own warm-up."""

    name: Literal["piecewise"] = "piecewise"
    """Kind of schedule."""
    points: tuple[float, ...] = field(default=(0.0, 2.0, 90.0), metadata={"min": 0})
    """Epochs, rising from 0; after the last point its factor holds."""
    factors: tuple[float, ...] = field(default=(0.0, 1.0, 0.0), metadata={"min": 0, "max": 1})
    """Share of the peak at each of the points."""


AnySchedule = (
    StepScheduleConfig
    | CosineScheduleConfig
    | LinearScheduleConfig
    | ConstantScheduleConfig
    | PolynomialScheduleConfig
    | PiecewiseScheduleConfig
)

"""What a recipe says of its loss, of mixed images and of averaged weights. Standard library only."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """What training minimises; an auxiliary head's loss is added at 0.4 of its value (1512.00567)."""

    name: Literal["cross_entropy", "bce"] = "cross_entropy"
    """Cross-entropy over the classes, or the mean of each class's own binary one (2110.00476, section 2)."""
    label_smoothing: float = field(default=0.0, metadata={"min": 0, "below": 1})
    """Share of the target spread evenly over all classes (1512.00567, section 7)."""
    bce_threshold: float | None = field(default=None, metadata={"min": 0, "below": 1})
    """With bce, targets above it become 1, all others 0 (2110.00476). None: as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MixingConfig:
    """Blends of two images and their targets; where both kinds are on, each micro-batch gets one of them at random."""

    mixup: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """Parameter of the Beta distribution of the next image's share; 0: off (1710.09412)."""
    cutmix: float = field(default=0.0, metadata={"min": 0, "max": 1000})
    """The same for a rectangle cut out of the next image; 0: off (1905.04899)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaConfig:
    """A moving average of weights and buffers, evaluated beside the weights themselves."""

    decay: float | None = field(default=None, metadata={"above": 0, "below": 1})
    """Share of the average that is kept at each update. None: no average."""
    every: int = field(default=1, metadata={"min": 1, "max": 1_000_000})
    """Optimizer steps from one update to the next."""
    warmup: bool = True
    """Let the first weights fade faster: after n updates, the share kept is at most (1 + n) / (10 + n)."""

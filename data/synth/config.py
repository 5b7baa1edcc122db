"""What a procedural data set consists of, and the ranges of its settings."""

from dataclasses import dataclass, field
from typing import Literal

Scale = Literal["full", "small"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Synth:
    """A procedural data set in ImageNet's layout: with the versions of numpy and Pillow, they decide every byte."""

    scale: Scale = "small"
    """Image sizes: full as ImageNet's (mean 484x402 pixels, 110 KB), small a quarter of that (7 KB)."""
    classes: int = field(default=10, metadata={"min": 2, "max": 40})
    """Classes, each a pair of shape and texture."""
    train_per_class: int = field(default=400, metadata={"min": 1, "max": 1_000_000})
    """Training images per class."""
    val_per_class: int = field(default=100, metadata={"min": 1, "max": 1_000_000})
    """Validation images per class."""
    seed: int = field(default=0, metadata={"min": 0, "max": 2**32 - 1})
    """Another seed gives other images of the same classes."""

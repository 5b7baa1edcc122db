"""What the data verbs can be told, and the ranges they accept."""

from dataclasses import dataclass, field
from typing import Literal

Scale = Literal["full", "small"]


@dataclass(frozen=True, kw_only=True, slots=True)
class InputConfig:
    """What the network sees of an image."""

    train_size: int = field(default=224, metadata={"min": 8, "max": 2048})
    """Side of the square training image, 8 to 2,048 pixels."""
    crop_area: tuple[float, float] = field(default=(0.08, 1.0), metadata={"above": 0, "max": 1})
    """Least and greatest share of the image that a random crop takes: above 0, at most 1 (1409.4842, section 6)."""
    flip: float = field(default=0.5, metadata={"min": 0, "max": 1})
    """Probability of a horizontal flip in training: 0 to 1."""
    eval_resize: int = field(default=256, metadata={"min": 8, "max": 2048})
    """Shorter side after the resize in evaluation, 8 to 2,048 pixels."""
    eval_crop: int = field(default=224, metadata={"min": 8, "max": 2048})
    """Side of the central crop that is evaluated, 8 to 2,048 pixels."""
    mean: tuple[float, float, float] = field(default=(0.485, 0.456, 0.406), metadata={"min": 0, "max": 1})
    """Subtracted per channel (R, G, B) from values of 0 to 1; ImageNet's mean by default, each 0 to 1."""
    std: tuple[float, float, float] = field(default=(0.229, 0.224, 0.225), metadata={"above": 0, "max": 1})
    """Divides each channel after that: above 0, at most 1; ImageNet's standard deviation by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Synth:
    """A procedural data set in ImageNet's layout: with the versions of numpy and Pillow, these decide every byte."""

    scale: Scale = "small"
    """Image sizes: full as ImageNet's (mean 484x402 pixels, 110 KB), small a quarter of that (7 KB)."""
    classes: int = field(default=10, metadata={"min": 2, "max": 40})
    """Classes, each a pair of shape and texture: 2 to 40."""
    train_per_class: int = field(default=400, metadata={"min": 1, "max": 1_000_000})
    """Training images per class: 1 to 1,000,000."""
    val_per_class: int = field(default=100, metadata={"min": 1, "max": 1_000_000})
    """Validation images per class: 1 to 1,000,000."""
    seed: int = field(default=0, metadata={"min": 0, "max": 2**32 - 1})
    """Another seed gives other images of the same classes: 0 to 4,294,967,295."""

"""What the data verbs can be told, and the ranges they accept."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

Scale = Literal["full", "small"]
Backend = Literal["threads", "dali", "dali_gpu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Synth:
    """A procedural data set in ImageNet's layout: with the versions of numpy and Pillow, these decide every byte."""

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


def out_of_range(options: Any) -> list[str]:
    """Name every option of a dataclass, all of them flags, that is out of its range: one line each."""
    return [
        f"--{option.name.replace('_', '-')}: {value}; must be at least {limit['min']} and at most {limit['max']}"
        for option in fields(options)
        if (value := getattr(options, option.name)) is not None
        and (limit := option.metadata)
        and not limit["min"] <= value <= limit["max"]
    ]

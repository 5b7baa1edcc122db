"""The axes along which the networks of the ResNet family differ. Standard library only.

Reference:
    Deep Residual Learning for Image Recognition, arXiv 1512.03385; sections, tables and figures
    without a number are its own, here and in `blocks.py` and `resnet.py`.
    Aggregated Residual Transformations (ResNeXt), arXiv 1611.05431.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """One network of the family; `models/table.py` and a `ModelConfig` fill it in."""

    block: Literal["plain", "basic", "bottleneck"]
    """plain: basic without its shortcut (section 3.3). basic, bottleneck: Figure 5 left, right."""

    depths: tuple[int, ...]
    """Blocks in each of ImageNet's four stages (Table 1) or CIFAR's three (section 4.2)."""

    num_classes: int = 1000
    in_channels: int = 3

    planes: int = 64
    """Filters of the first stage; each later stage has twice as many (section 3.3, rule ii)."""

    small_images: bool = False
    """CIFAR's stem: one 3x3 convolution at full size, no pooling (section 4.2)."""

    groups: int = 1
    """Cardinality C of ResNeXt's 3x3 convolution (1611.05431 section 3.3)."""

    base_width: int = 64
    """A group's width where the stage has 64 planes: ResNeXt's d (1611.05431 Table 2)."""

    stride_in_1x1: bool = False
    """A stage halves the map in its first 1x1, as the paper's code does; else in its first 3x3."""

    ghost_kernels: tuple[int, ...] = (1,)
    """Kernel sizes of the convolutions that Ghost modules replace."""

    # Options: `ModelConfig` says what they do
    shortcut: Literal["A", "B", "C"] = "B"
    zero_init_residual: bool = False
    drop_path: float = 0.0
    blur_pool: Literal["after", "before"] | None = None
    deep_stem: bool = False
    avg_down: bool = False
    ghost: int = 0

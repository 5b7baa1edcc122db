"""Names of operations on pixels, and the elements of a policy. Standard library only."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any


class Op(IntEnum):
    """Operations, in torchvision's order: the first 14 are those of RandAugment and TrivialAugment."""

    NONE = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    COLOR = 7
    CONTRAST = 8
    SHARPNESS = 9
    POSTERIZE = 10
    SOLARIZE = 11
    AUTO_CONTRAST = 12
    EQUALIZE = 13
    INVERT = 14


class PillowOp(IntEnum):
    """Operations with Pillow's pixels, as timm and DeiT III have them, where they are not those of `Op`."""

    SOLARIZE_ADD = 100
    GREY = 101
    BLUR = 102
    SHEAR_X = 110
    SHEAR_Y = 111
    TRANSLATE_X = 112
    TRANSLATE_Y = 113
    ROTATE = 114


TO_CUBIC = 10
"""From the code of an operation on the geometry to that of the same with bicubic interpolation."""

Own = Callable[[Any, Any], Any]
"""A user's operation: takes images (N, 3, H, W) uint8 and (N,) numbers from 0 to 1, and returns such images."""

Draw = tuple[Op | Own, float, int]
"""Operation, probability, and its magnitude from 0 to 9."""

Pair = tuple[Draw, Draw]
"""Operations applied one after the other."""

POLICIES: dict[str, tuple[Pair, ...]] = {}
"""A user's policies by name: for each image one pair is drawn, and each of its operations applied with its
probability."""


def own() -> tuple[Own, ...]:
    """The functions in a user's policies: their codes follow those of `Op`."""
    draws = (draw for pairs in POLICIES.values() for pair in pairs for draw in pair)
    return tuple(dict.fromkeys(op for op, *_ in draws if not isinstance(op, Op)))

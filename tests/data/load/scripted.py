"""timm's own augmentations of single images, with the choices of a plan in place of its random numbers."""

from statistics import NormalDist
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image
from timm.data import auto_augment

from data.plan.draws import Floats
from data.plan.operations import Op, PillowOp

NAMES = auto_augment._RAND_INCREASING_TRANSFORMS
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
FILL = (124, 116, 104)


def operation(name: str, magnitude: float, *, negative: bool, cubic: bool) -> tuple[Any, tuple[Any, ...]]:
    """timm's operation, to be applied to an image, and the arguments that its magnitude becomes."""
    told = SimpleNamespace(random=lambda: 1.0 if negative else 0.0)
    to_arguments = auto_augment.LEVEL_TO_ARG[name]
    with patch.object(auto_augment, "random", told):
        arguments = to_arguments(magnitude, {}) if to_arguments else ()
    resample = PILLOW["bicubic" if cubic else "bilinear"]

    def apply(image: Image.Image) -> Image.Image:
        if arguments == (0,) and name == "PosterizeIncreasing":  # black; Pillow 13 refuses to keep no bit
            return Image.new("RGB", image.size)
        return auto_augment.NAME_TO_OP[name](image, *arguments, fillcolor=FILL, resample=resample)

    return apply, arguments


def split(draws: Floats) -> tuple[list[int], list[bool], list[bool], list[bool]]:
    """Of each draw of an operation: which it is, whether it is done, its direction, and whether it is bicubic."""
    parts = np.floor(draws * 120).astype(int)
    return (parts // 8).tolist(), *((parts & bit > 0).tolist() for bit in (4, 2)), (parts & 1 == 0).tolist()


def augmented(image: Image.Image, draws: Floats, count: int, levels: NormalDist) -> Image.Image:
    """The image after rand-augment of `count` operations with the (16,) draws of a plan."""
    for place, (which, done, negative, cubic) in enumerate(zip(*split(draws[:count]), strict=True)):
        level = max(0.0, min(levels.inv_cdf(draws[count + place]), 10.0))
        apply, _ = operation(NAMES[which], level, negative=negative, cubic=cubic)
        image = apply(image) if done else image
    return image


def ours(name: str, arguments: tuple[float, ...], size: int, *, cubic: bool) -> tuple[int, float]:
    """The code and magnitude of an operation of timm's with these arguments."""
    argument = sum(arguments)  # of one at most
    plain: dict[str, tuple[int, float]] = {
        "AutoContrast": (Op.AUTO_CONTRAST, 0),
        "Equalize": (Op.EQUALIZE, 0),
        "Invert": (Op.INVERT, 0),
        "PosterizeIncreasing": (Op.POSTERIZE, argument),
        "SolarizeIncreasing": (Op.SOLARIZE if argument < 256 else Op.NONE, argument / 255),
        "SolarizeAdd": (PillowOp.SOLARIZE_ADD, argument),
        "ColorIncreasing": (Op.COLOR, argument - 1),
        "ContrastIncreasing": (Op.CONTRAST, argument - 1),
        "BrightnessIncreasing": (Op.BRIGHTNESS, argument - 1),
        "SharpnessIncreasing": (Op.SHARPNESS, argument - 1),
    }
    moved: dict[str, tuple[int, float]] = {
        "ShearX": (PillowOp.SHEAR_X, argument),
        "ShearY": (PillowOp.SHEAR_Y, argument),
        "TranslateXRel": (PillowOp.TRANSLATE_X, argument * size),
        "TranslateYRel": (PillowOp.TRANSLATE_Y, argument * size),
        "Rotate": (PillowOp.ROTATE, argument),
    }
    if name in plain:
        return plain[name]
    code, magnitude = moved[name]
    return code + 10 * cubic, magnitude

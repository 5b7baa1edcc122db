"""What torchvision's augmentation policies choose from: operations, magnitudes and AutoAugment's pairs.

Reference:
    torchvision.transforms.v2: RandAugment (1909.13719), TrivialAugmentWide (2103.10158), AutoAugment (1805.09501).
"""

from dataclasses import dataclass

import numpy as np

from data.plan.draws import Floats
from data.plan.operations import POLICIES, Op, own

DRAWN_OPS = 14  # of RandAugment and TrivialAugment, which never invert
FIRST_SIGNED, LAST_SIGNED = Op.SHEAR_X, Op.SHARPNESS  # operations between these have a random direction


@dataclass(frozen=True, slots=True)
class Space:
    """How strong the operations of a policy may be."""

    bins: int
    """Magnitudes of each operation, evenly spaced."""
    shear: float
    """Greatest tangent of the angle."""
    degrees: float
    """Greatest rotation."""
    factor: float
    """Greatest difference from 1 of brightness, colour, contrast and sharpness."""
    bits: int
    """Most bits that posterize removes."""
    share: float | None
    """Greatest translation as a share of the image's side; None: `PIXELS`, whatever the side."""


PIXELS = 32.0
RANDAUGMENT = Space(bins=31, shear=0.3, degrees=30.0, factor=0.9, bits=4, share=150.0 / 331.0)
AUTOAUGMENT = Space(bins=10, shear=0.3, degrees=30.0, factor=0.9, bits=4, share=150.0 / 331.0)
TRIVIALAUGMENT = Space(bins=31, shear=0.99, degrees=135.0, factor=0.99, bits=6, share=None)


def magnitudes(space: Space, size: int) -> Floats:
    """(operations, bins) unsigned magnitudes, 0 for operations without one; those of a user's operations come last.

    They are float64. torchvision's are float32, whose last bits depend on the processor: TrivialAugment's 16 pixels may
    become 15 there.

    Args:
        space: The policy's.
        size: Side of the image, pixels.
    """
    offset = PIXELS if space.share is None else space.share * size
    greatest = {
        Op.SHEAR_X: space.shear,
        Op.SHEAR_Y: space.shear,
        Op.TRANSLATE_X: offset,
        Op.TRANSLATE_Y: offset,
        Op.ROTATE: space.degrees,
        Op.BRIGHTNESS: space.factor,
        Op.COLOR: space.factor,
        Op.CONTRAST: space.factor,
        Op.SHARPNESS: space.factor,
    }
    table = np.zeros((len(Op) + len(own()), space.bins))
    for op, end in greatest.items():
        table[op] = np.linspace(0.0, end, space.bins)
    table[Op.POSTERIZE] = np.rint(8 - np.arange(space.bins) / ((space.bins - 1) / space.bits))
    table[Op.SOLARIZE] = np.linspace(1.0, 0.0, space.bins)
    table[len(Op) :] = np.linspace(0.0, 1.0, space.bins)
    return table


_Pair = tuple[tuple[Op, float, int], tuple[Op, float, int]]  # each: operation, probability, bin of its magnitude

PAIRS: dict[str, tuple[_Pair, ...]] = {
    "autoaugment_imagenet": (
        ((Op.POSTERIZE, 0.4, 8), (Op.ROTATE, 0.6, 9)),
        ((Op.SOLARIZE, 0.6, 5), (Op.AUTO_CONTRAST, 0.6, 0)),
        ((Op.EQUALIZE, 0.8, 0), (Op.EQUALIZE, 0.6, 0)),
        ((Op.POSTERIZE, 0.6, 7), (Op.POSTERIZE, 0.6, 6)),
        ((Op.EQUALIZE, 0.4, 0), (Op.SOLARIZE, 0.2, 4)),
        ((Op.EQUALIZE, 0.4, 0), (Op.ROTATE, 0.8, 8)),
        ((Op.SOLARIZE, 0.6, 3), (Op.EQUALIZE, 0.6, 0)),
        ((Op.POSTERIZE, 0.8, 5), (Op.EQUALIZE, 1.0, 0)),
        ((Op.ROTATE, 0.2, 3), (Op.SOLARIZE, 0.6, 8)),
        ((Op.EQUALIZE, 0.6, 0), (Op.POSTERIZE, 0.4, 6)),
        ((Op.ROTATE, 0.8, 8), (Op.COLOR, 0.4, 0)),
        ((Op.ROTATE, 0.4, 9), (Op.EQUALIZE, 0.6, 0)),
        ((Op.EQUALIZE, 0.0, 0), (Op.EQUALIZE, 0.8, 0)),
        ((Op.INVERT, 0.6, 0), (Op.EQUALIZE, 1.0, 0)),
        ((Op.COLOR, 0.6, 4), (Op.CONTRAST, 1.0, 8)),
        ((Op.ROTATE, 0.8, 8), (Op.COLOR, 1.0, 2)),
        ((Op.COLOR, 0.8, 8), (Op.SOLARIZE, 0.8, 7)),
        ((Op.SHARPNESS, 0.4, 7), (Op.INVERT, 0.6, 0)),
        ((Op.SHEAR_X, 0.6, 5), (Op.EQUALIZE, 1.0, 0)),
        ((Op.COLOR, 0.4, 0), (Op.EQUALIZE, 0.6, 0)),
        ((Op.EQUALIZE, 0.4, 0), (Op.SOLARIZE, 0.2, 4)),
        ((Op.SOLARIZE, 0.6, 5), (Op.AUTO_CONTRAST, 0.6, 0)),
        ((Op.INVERT, 0.6, 0), (Op.EQUALIZE, 1.0, 0)),
        ((Op.COLOR, 0.6, 4), (Op.CONTRAST, 1.0, 8)),
        ((Op.EQUALIZE, 0.8, 0), (Op.EQUALIZE, 0.6, 0)),
    ),
    "autoaugment_cifar10": (
        ((Op.INVERT, 0.1, 0), (Op.CONTRAST, 0.2, 6)),
        ((Op.ROTATE, 0.7, 2), (Op.TRANSLATE_X, 0.3, 9)),
        ((Op.SHARPNESS, 0.8, 1), (Op.SHARPNESS, 0.9, 3)),
        ((Op.SHEAR_Y, 0.5, 8), (Op.TRANSLATE_Y, 0.7, 9)),
        ((Op.AUTO_CONTRAST, 0.5, 0), (Op.EQUALIZE, 0.9, 0)),
        ((Op.SHEAR_Y, 0.2, 7), (Op.POSTERIZE, 0.3, 7)),
        ((Op.COLOR, 0.4, 3), (Op.BRIGHTNESS, 0.6, 7)),
        ((Op.SHARPNESS, 0.3, 9), (Op.BRIGHTNESS, 0.7, 9)),
        ((Op.EQUALIZE, 0.6, 0), (Op.EQUALIZE, 0.5, 0)),
        ((Op.CONTRAST, 0.6, 7), (Op.SHARPNESS, 0.6, 5)),
        ((Op.COLOR, 0.7, 7), (Op.TRANSLATE_X, 0.5, 8)),
        ((Op.EQUALIZE, 0.3, 0), (Op.AUTO_CONTRAST, 0.4, 0)),
        ((Op.TRANSLATE_Y, 0.4, 3), (Op.SHARPNESS, 0.2, 6)),
        ((Op.BRIGHTNESS, 0.9, 6), (Op.COLOR, 0.2, 8)),
        ((Op.SOLARIZE, 0.5, 2), (Op.INVERT, 0.0, 0)),
        ((Op.EQUALIZE, 0.2, 0), (Op.AUTO_CONTRAST, 0.6, 0)),
        ((Op.EQUALIZE, 0.2, 0), (Op.EQUALIZE, 0.6, 0)),
        ((Op.COLOR, 0.9, 9), (Op.EQUALIZE, 0.6, 0)),
        ((Op.AUTO_CONTRAST, 0.8, 0), (Op.SOLARIZE, 0.2, 8)),
        ((Op.BRIGHTNESS, 0.1, 3), (Op.COLOR, 0.7, 0)),
        ((Op.SOLARIZE, 0.4, 5), (Op.AUTO_CONTRAST, 0.9, 0)),
        ((Op.TRANSLATE_Y, 0.9, 9), (Op.TRANSLATE_Y, 0.7, 9)),
        ((Op.AUTO_CONTRAST, 0.9, 0), (Op.SOLARIZE, 0.8, 3)),
        ((Op.EQUALIZE, 0.8, 0), (Op.INVERT, 0.1, 0)),
        ((Op.TRANSLATE_Y, 0.7, 9), (Op.AUTO_CONTRAST, 0.9, 0)),
    ),
    "autoaugment_svhn": (
        ((Op.SHEAR_X, 0.9, 4), (Op.INVERT, 0.2, 0)),
        ((Op.SHEAR_Y, 0.9, 8), (Op.INVERT, 0.7, 0)),
        ((Op.EQUALIZE, 0.6, 0), (Op.SOLARIZE, 0.6, 6)),
        ((Op.INVERT, 0.9, 0), (Op.EQUALIZE, 0.6, 0)),
        ((Op.EQUALIZE, 0.6, 0), (Op.ROTATE, 0.9, 3)),
        ((Op.SHEAR_X, 0.9, 4), (Op.AUTO_CONTRAST, 0.8, 0)),
        ((Op.SHEAR_Y, 0.9, 8), (Op.INVERT, 0.4, 0)),
        ((Op.SHEAR_Y, 0.9, 5), (Op.SOLARIZE, 0.2, 6)),
        ((Op.INVERT, 0.9, 0), (Op.AUTO_CONTRAST, 0.8, 0)),
        ((Op.EQUALIZE, 0.6, 0), (Op.ROTATE, 0.9, 3)),
        ((Op.SHEAR_X, 0.9, 4), (Op.SOLARIZE, 0.3, 3)),
        ((Op.SHEAR_Y, 0.8, 8), (Op.INVERT, 0.7, 0)),
        ((Op.EQUALIZE, 0.9, 0), (Op.TRANSLATE_Y, 0.6, 6)),
        ((Op.INVERT, 0.9, 0), (Op.EQUALIZE, 0.6, 0)),
        ((Op.CONTRAST, 0.3, 3), (Op.ROTATE, 0.8, 4)),
        ((Op.INVERT, 0.8, 0), (Op.TRANSLATE_Y, 0.0, 2)),
        ((Op.SHEAR_Y, 0.7, 6), (Op.SOLARIZE, 0.4, 8)),
        ((Op.INVERT, 0.6, 0), (Op.ROTATE, 0.8, 4)),
        ((Op.SHEAR_Y, 0.3, 7), (Op.TRANSLATE_X, 0.9, 3)),
        ((Op.SHEAR_X, 0.1, 6), (Op.INVERT, 0.6, 0)),
        ((Op.SOLARIZE, 0.7, 2), (Op.TRANSLATE_Y, 0.6, 7)),
        ((Op.SHEAR_Y, 0.8, 4), (Op.INVERT, 0.8, 0)),
        ((Op.SHEAR_X, 0.7, 9), (Op.TRANSLATE_Y, 0.8, 3)),
        ((Op.SHEAR_Y, 0.8, 5), (Op.AUTO_CONTRAST, 0.7, 0)),
        ((Op.SHEAR_X, 0.7, 2), (Op.INVERT, 0.1, 0)),
    ),
}


def coded(policy: str) -> Floats:
    """(pairs, 2, 3) a policy's pairs: code of the operation, probability, bin of its magnitude."""
    codes = {op: op.value for op in Op} | {op: len(Op) + number for number, op in enumerate(own())}
    pairs = PAIRS[policy] if policy in PAIRS else POLICIES[policy]
    rows = [[(codes[op], share, magnitude) for op, share, magnitude in pair] for pair in pairs]
    return np.array(rows, np.float64)

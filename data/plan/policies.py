"""Chooses augmentations for the images of a batch: uniform draws become operations, factors and rectangles.

The distributions are those of torchvision.transforms.v2; `data.load.augment` carries the choices out.
"""

import math
from dataclasses import dataclass

import numpy as np

from data.plan import timm_policies
from data.plan.config import AugmentConfig
from data.plan.draws import Floats, Ints
from data.plan.policy_tables import (
    AUTOAUGMENT,
    DRAWN_OPS,
    FIRST_SIGNED,
    LAST_SIGNED,
    RANDAUGMENT,
    TRIVIALAUGMENT,
    coded,
    magnitudes,
)

POLICY_DRAWS = 16  # the most that a policy uses: two for each of 8 operations
JITTER_DRAWS = 8  # 4 factors and their order
ERASING_TRIES = 10  # torchvision's RandomErasing tries as often before it leaves the image alone
ERASING_DRAWS = 1 + 2 * ERASING_TRIES + 1 + 2  # whether; size and shape of each try; the noise; the corner
DRAWS = 48  # for each image, the sum: a multiple of Philox's 4 a block

ERASED = {"mean": ((0.02, 0.33), (0.3, 3.3)), "noise": ((0.02, 1 / 3), (0.3, 1 / 0.3))}
"""Share of the image's area, and height : width; torchvision's and timm's defaults, which are those of 1708.04896."""
NOISES = 2**20  # places in the table of normal numbers at which the noise of an image may begin

_Drawn = tuple[Ints, Floats]


@dataclass(frozen=True, slots=True)
class Choices:
    """Augmentations of the N images of a batch: operations one after the other, then jitter, then erasing."""

    ops: Ints
    """(N, K) `policy_tables.Op`, 0 for none; K may be 0."""
    magnitudes: Floats
    """(N, K) signed: tangent of a shear's angle, pixels of a translation, degrees of a rotation, bits that posterize
    keeps, solarize's threshold as a share of white, what is added, a blur's radius, difference from 1 of the other
    factors; 0 for all else."""
    jitter: Floats
    """(N, 4) factors of brightness, contrast and saturation, 1 without effect; shift of hue, -0.5 to 0.5 of a turn."""
    jitter_order: Ints
    """(N, 4) columns of `jitter` in the order in which they are applied."""
    boxes: Ints
    """(N, 4) top, left, height, width to erase, pixels; height 0 erases nothing."""

    def rows(self, index: slice | Ints) -> "Choices":
        """The same for some images of the batch."""
        return Choices(*(getattr(self, name)[index] for name in self.__slots__))


def choices(config: AugmentConfig, draws: Floats, size: int, cubic_share: float = 0.0) -> Choices | None:
    """The choices for a batch, or None where the config has no augmentation.

    Each kind of augmentation has its own draws, so switching one on or off changes no other.

    Args:
        config: What to choose from.
        draws: (N, DRAWS) uniform in [0, 1).
        size: Side of the square images, pixels.
        cubic_share: How often timm's RandAugment interpolates by a bicubic filter: 0, 1/2 or 1.
    """
    mean = config.erasing_fill == "mean"
    if config.policy == "none" and not any(config.color_jitter) and not (config.erasing and mean):
        return None
    policy, jitter, erasing = np.split(draws, [POLICY_DRAWS, POLICY_DRAWS + JITTER_DRAWS], axis=1)
    ops, strengths = _operations(config, policy, size, cubic_share)
    return Choices(
        ops=ops,
        magnitudes=strengths,
        jitter=_jitter(config.color_jitter, jitter[:, :4]),
        jitter_order=np.argsort(jitter[:, 4:], axis=1, kind="stable"),
        boxes=_boxes(config, erasing, size) * mean,
    )


def noise(config: AugmentConfig, draws: Floats, size: int) -> Ints | None:
    """(N, 5) top, left, height, width of the rectangle that becomes noise, and the place of its first number.

    None where the config has no such noise; the arguments are those of `choices`. A rectangle holds
    `data.plan.draws.normals` from that place on, channel by channel and row by row.
    """
    if config.erasing_fill != "noise":
        return None
    erasing = draws[:, POLICY_DRAWS + JITTER_DRAWS :]
    return np.column_stack([_boxes(config, erasing, size), _pick(erasing[:, 1 + 2 * ERASING_TRIES], NOISES)])


def _operations(config: AugmentConfig, draws: Floats, size: int, cubic_share: float) -> _Drawn:
    match config.policy:
        case "none":
            return np.zeros((len(draws), 0), np.int64), np.zeros((len(draws), 0))
        case "randaugment":
            return _randaugment(config, draws, size)
        case "randaugment_timm":
            return timm_policies.randaugment(config, draws, size, cubic_share)
        case "three_augment":
            return timm_policies.three_augment(draws)
        case "trivialaugment":
            return _trivialaugment(draws, size)
        case _:
            return _autoaugment(config.policy, draws, size)


def _randaugment(config: AugmentConfig, draws: Floats, size: int) -> _Drawn:
    count = config.randaugment_ops
    ops = _pick(draws[:, :count], DRAWN_OPS)
    strengths = magnitudes(RANDAUGMENT, size)[ops, config.randaugment_magnitude]
    return ops, _signed(ops, strengths, draws[:, count : 2 * count])


def _trivialaugment(draws: Floats, size: int) -> _Drawn:
    ops, bins = _pick(draws[:, :1], DRAWN_OPS), _pick(draws[:, 1:2], TRIVIALAUGMENT.bins)
    return ops, _signed(ops, magnitudes(TRIVIALAUGMENT, size)[ops, bins], draws[:, 2:3])


def _autoaugment(policy: str, draws: Floats, size: int) -> _Drawn:
    table = coded(policy)
    pairs = table[_pick(draws[:, 0], len(table))]  # (N, 2, 3)
    ops = np.where(draws[:, 1:3] < pairs[..., 1], pairs[..., 0], 0).astype(np.int64)
    strengths = magnitudes(AUTOAUGMENT, size)[ops, pairs[..., 2].astype(np.int64)]
    return ops, _signed(ops, strengths, draws[:, 3:5])


def _pick(draws: Floats, count: int) -> Ints:
    """Whole numbers from 0 to `count - 1`, all equally likely."""
    return np.floor(draws * count).astype(np.int64)


def _signed(ops: Ints, strengths: Floats, draws: Floats) -> Floats:
    signed = (ops >= FIRST_SIGNED) & (ops <= LAST_SIGNED)
    return np.where(signed & (draws < 0.5), -strengths, strengths)


def _jitter(greatest: tuple[float, float, float, float], draws: Floats) -> Floats:
    """As torchvision's ColorJitter: factors are at least 0, the shift of hue is around 0."""
    *changes, hue = greatest
    low = np.array([*(max(0.0, 1 - change) for change in changes), -hue])
    high = np.array([*(1 + change for change in changes), hue])
    return low + (high - low) * draws


def _boxes(config: AugmentConfig, draws: Floats, size: int) -> Ints:
    """As torchvision's and timm's RandomErasing: the first try that is smaller than the image, or nothing."""
    share, ratios = ERASED[config.erasing_fill]
    tries = draws[:, 1 : 1 + 2 * ERASING_TRIES]
    area = size * size * (share[0] + (share[1] - share[0]) * tries[:, 0::2])
    low, high = math.log(ratios[0]), math.log(ratios[1])
    ratio = np.exp(low + (high - low) * tries[:, 1::2])
    heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))  # (N, tries)
    fits = (heights < size) & (widths < size)
    rows, first = np.arange(len(draws)), np.argmax(fits, axis=1)
    sides = np.stack([heights[rows, first], widths[rows, first]], axis=1)
    corners = np.floor(draws[:, -2:] * (size - sides + 1))
    erased = (draws[:, 0] < config.erasing) & fits.any(axis=1)
    return np.where(erased[:, None], np.concatenate([corners, sides], axis=1), 0).astype(np.int64)

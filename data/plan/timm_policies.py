"""Chooses augmentations as timm and DeiT III do.

Reference:
    timm.data.auto_augment, version 1.0.31: `rand_augment_transform` with increasing severity ("inc1"); augment.py of
    facebookresearch/deit, `new_data_aug_generator`.
"""

from statistics import NormalDist

import numpy as np

from data.plan.config import TIMM_HIGHEST, AugmentConfig
from data.plan.draws import Floats, Ints
from data.plan.operations import TO_CUBIC, Op, PillowOp

RANDAUGMENT = (
    *(Op.AUTO_CONTRAST, Op.EQUALIZE, Op.INVERT, PillowOp.ROTATE, Op.POSTERIZE, Op.SOLARIZE, PillowOp.SOLARIZE_ADD),
    *(Op.COLOR, Op.CONTRAST, Op.BRIGHTNESS, Op.SHARPNESS),
    *(PillowOp.SHEAR_X, PillowOp.SHEAR_Y, PillowOp.TRANSLATE_X, PillowOp.TRANSLATE_Y),
)


def randaugment(config: AugmentConfig, draws: Floats, size: int, cubic_share: float) -> tuple[Ints, Floats]:
    """(N, K) operations and magnitudes, as of `policies.Choices`; each operation is left out with a probability of 1/2.

    Args:
        config: Number of operations, mean and deviation of their magnitude.
        draws: (N, 2K or more) uniform in [0, 1).
        size: Side of the image, pixels.
        cubic_share: Probability that an operation on the geometry has bicubic interpolation: 0, 1/2 or 1.
    """
    count = config.randaugment_ops
    parts = np.floor(draws[:, :count] * len(RANDAUGMENT) * 8).astype(np.int64)  # four choices in one draw
    which, chosen, negative, cubic = parts // 8, parts & 4, parts & 2, (parts & 1) / 2 < cubic_share
    share = _magnitudes(config, draws[:, count : 2 * count]) / TIMM_HIGHEST
    signed = np.where(negative, -share, share)
    nothing, factor = np.zeros_like(share), np.maximum(0.1, 1 + 0.9 * signed) - 1
    below = (256 - np.floor(256 * share)) / 255  # threshold; above 1, nothing is inverted
    bits, added = 4 - np.floor(4 * share), np.floor(110 * share)
    strengths = np.stack(
        [
            *(nothing, nothing, nothing, 30 * signed, bits, below, added),
            *(factor, factor, factor, factor),
            *(0.3 * signed, 0.3 * signed, 0.45 * signed * size, 0.45 * signed * size),
        ]
    )
    ops = np.array(RANDAUGMENT)[which]
    ops = np.where(cubic & (ops >= PillowOp.SHEAR_X), ops + TO_CUBIC, ops)
    without = (chosen == 0) | ((ops == Op.SOLARIZE) & (below > 1))
    return np.where(without, Op.NONE, ops), np.take_along_axis(strengths, which[None], 0)[0]


def three_augment(draws: Floats) -> tuple[Ints, Floats]:
    """One of three for each image: grey, solarize at a half, or a blur with a radius from 0.1 to 2 pixels."""
    which = np.floor(draws[:, :1] * 3).astype(np.int64)
    ops = np.array([PillowOp.GREY, Op.SOLARIZE, PillowOp.BLUR])[which]
    return ops, np.select([which == 1, which == 2], [128 / 255, 0.1 + 1.9 * draws[:, 1:2]])


def _magnitudes(config: AugmentConfig, draws: Floats) -> Floats:
    """With a normal distribution, cut off at 0 and `TIMM_HIGHEST`."""
    if not config.randaugment_std:
        return np.full_like(draws, config.randaugment_magnitude)
    normal = NormalDist(config.randaugment_magnitude, config.randaugment_std)
    values = [normal.inv_cdf(max(draw, 2.0**-54)) for draw in draws.ravel().tolist()]
    return np.clip(values, 0, TIMM_HIGHEST).reshape(draws.shape)

"""DeiT III's grey and blurred images, with Pillow's pixels. Images are (N, 3, H, W) uint8."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.load.colours import on_device, to_bytes
from data.plan.draws import Floats

PASSES = 3


def grey(images: Tensor) -> Tensor:
    """Three equal channels.

    Reference:
        Pillow, src/libImaging/Convert.c, `L24`.
    """
    red, green, blue = images.int().unbind(1)
    return (red * 19595 + green * 38470 + blue * 7471 + (1 << 15) >> 16).to(torch.uint8)[:, None].expand_as(images)


def blur(images: Tensor, radii: Floats) -> Tensor:
    """Three box blurs along each axis, for a Gaussian with a standard deviation of (N,) 0 to 2 pixels.

    Pillow computes in whole numbers. By floats of 32 bits one value in 1,000 is another by a level, and more only where
    the radius is a number like 1, of which sums lie halfway between two levels.

    Reference:
        Pillow, src/libImaging/BoxBlur.c.
    """
    weights = torch.from_numpy(np.array([_weights(radius) for radius in radii.tolist()], np.float32))
    inner, near, far = on_device(weights, images.device)[:, :, None, None, None].unbind(1)
    values = images.float()
    for axis, sides in ((3, (2, 2, 0, 0)), (2, (0, 0, 2, 2))):
        for _ in range(PASSES):
            padded = functional.pad(values, sides, mode="replicate")
            taps = [padded.narrow(axis, start, images.shape[axis]) for start in range(5)]
            values = (taps[2] * inner).add_((taps[1] + taps[3]).mul_(near)).add_((taps[0] + taps[4]).mul_(far))
            values.add_(0.5).floor_()
    return to_bytes(values)


def _weights(radius: float) -> tuple[float, float, float]:
    """Of a pixel, of its two neighbours, and of theirs, in a box blur of fractional width."""
    variance = radius**2 / PASSES
    whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    width = 2 * (whole + part) + 1
    edge = (1 - (2 * whole + 1) / width) / 2
    return (1 / width, edge, 0.0) if whole == 0 else (1 / width, 1 / width, edge)

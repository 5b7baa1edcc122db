"""Shears, rotations and translations with Pillow's pixels, with a magnitude for each image.

Unlike torchvision's, they repeat the border, take bicubic samples from a steeper curve (a = -1), and round down; what
comes from outside of the image has a given colour. Images are (N, 3, H, W) uint8. Single values differ by a level from
Pillow's, which computes with 64 bits where this does with 32.

Reference:
    Pillow, src/libImaging/Geometry.c, and PIL.Image.Image.rotate; called as timm.data.auto_augment calls them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.load.colours import on_device, to_bytes
from data.plan.draws import Floats
from data.plan.operations import TO_CUBIC, PillowOp

Matrix = tuple[float, float, float, float, float, float]
"""Two rows that map a position (x, y, 1) in the new image to one in the old, in pixels from the top left corner."""


def warp(images: Tensor, magnitudes: Floats, op: int, fill: tuple[int, int, int]) -> Tensor:
    """Carry out an operation from `PillowOp.SHEAR_X` on, bilinear or bicubic."""
    cubic = op >= PillowOp.SHEAR_X + TO_CUBIC
    axes, matrix = WARPS[op - cubic * TO_CUBIC]
    height, width = images.shape[2:]
    xs, ys = _positions(images, [matrix(magnitude, width, height) for magnitude in magnitudes.tolist()])
    inside = (xs >= 0) & (xs < width) & (ys >= 0) & (ys < height)
    xs, ys = xs.clamp_(0, width).sub_(0.5), ys.clamp_(0, height).sub_(0.5)
    left, above = xs.floor(), ys.floor()
    x, y = (share.float().flatten(1)[:, None] for share in (xs - left, ys - above))  # (N, 1, H * W)
    padded = functional.pad(images.float(), (2, 2, 2, 2), mode="replicate").flatten(2)
    row, taps = width + 4, range(-1, 3) if cubic else range(2)
    first = ((above + 2) * row + (left + 2)).long().flatten(1)[:, None]

    def along(start: Tensor, step: int, share: Tensor) -> Tensor:
        return _between([padded.gather(2, (start + tap * step).expand(-1, 3, -1)) for tap in taps], share)

    if axes == "xy":
        values = _between([along(first + tap * row, 1, x) for tap in taps], y)
    else:
        values = along(first, 1, x) if axes == "x" else along(first, row, y)
    colour = on_device(torch.tensor(fill, dtype=torch.uint8), images.device).view(3, 1, 1)
    return torch.where(inside[:, None], to_bytes(values.clamp_(0, 255)).view_as(images), colour)


def _rotation(degrees: float, width: int, height: int) -> Matrix:
    """Around the centre, counter-clockwise."""
    x, y, turn = width / 2, height / 2, -math.radians(degrees % 360)
    cosine, sine = round(math.cos(turn), 15), round(math.sin(turn), 15)  # as Pillow rounds them
    return cosine, sine, cosine * -x + sine * -y + x, -sine, cosine, -sine * -x + cosine * -y + y


WARPS: Mapping[int, tuple[str, Callable[[float, int, int], Matrix]]] = MappingProxyType(
    {
        PillowOp.SHEAR_X: ("x", lambda tangent, *_: (1, tangent, 0, 0, 1, 0)),
        PillowOp.SHEAR_Y: ("y", lambda tangent, *_: (1, 0, 0, tangent, 1, 0)),
        PillowOp.TRANSLATE_X: ("x", lambda pixels, *_: (1, 0, pixels, 0, 1, 0)),
        PillowOp.TRANSLATE_Y: ("y", lambda pixels, *_: (1, 0, 0, 0, 1, pixels)),
        PillowOp.ROTATE: ("xy", _rotation),
    }
)
"""Axes along which positions lie between pixels, and the matrix for a magnitude, width and height."""


def _positions(images: Tensor, matrices: Sequence[Matrix]) -> tuple[Tensor, Tensor]:
    """Two (N, H, W) float64, x and y in the old image, which decide between neighbouring pixels."""
    height, width = images.shape[2:]
    numbers = on_device(torch.from_numpy(np.array(matrices, np.float64)), images.device)
    a, b, c, d, e, f = numbers[:, :, None, None].unbind(1)
    x, y = (torch.arange(count, dtype=torch.float64, device=images.device) + 0.5 for count in (width, height))
    return a * x + b * y[:, None] + c, d * x + e * y[:, None] + f


def _between(values: Sequence[Tensor], share: Tensor) -> Tensor:
    """The value at `share` of the way between two neighbours, or the middle ones of four.

    Differences of equal values vanish, so that rounding down changes nothing in an even area.
    """
    if len(values) == 2:
        return (values[1] - values[0]).mul_(share).add_(values[0])
    before, here, there, behind = values
    fall = before - here
    third = (behind - there).sub_(fall)
    return fall.sub_(third).add_(third.mul_(share)).mul_(share).add_(there - before).mul_(share).add_(here)

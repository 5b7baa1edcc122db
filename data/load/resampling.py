"""Computes a part of a resized image that would be too large, with the pixels of Pillow's resize."""

import numpy as np
from numpy.typing import NDArray

from data.catalog.manifest import Bytes
from data.plan.config import Interpolation
from data.plan.draws import Ints

_BITS = 22  # of a weight's fraction, in Pillow
_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
_SHARPNESS = -0.5  # of the bicubic filter


def part(pixels: Bytes, size: Ints, corner: Ints, side: int, interpolation: Interpolation) -> Bytes:
    """The square at `corner` of the image resized to `size`.

    Pillow filters along rows and then along columns, each output pixel independently of its neighbours, and rounds to
    bytes in between. This function computes the pixels of a part in the same way, in whole numbers. Where the height
    shrinks, Pillow 13 may filter the columns first, so that single pixels differ by rounding; no JPEG shrinks whose
    resize to 512 px would be too large.

    Args:
        pixels: (H, W, 3) the image.
        size: (2,) height, width that it is resized to.
        corner: (2,) top, left of the part, which may lie partly outside of the resized image.
        side: Of the part, pixels.
        interpolation: The filter, with antialias.

    Returns:
        (side, side, 3), black outside of the resized image.

    Reference:
        Pillow, src/libImaging/Resample.c.
    """
    first, end = np.maximum(corner, 0), np.minimum(corner + side, size)
    rows, down = _taps(pixels.shape[0], size[0], first[0], end[0], interpolation)
    columns, across = _taps(pixels.shape[1], size[1], first[1], end[1], interpolation)
    above = rows.min()
    needed = pixels[above : rows.max() + 1]
    wide = _filtered(needed.transpose(1, 0, 2), columns, across)  # (H, W, 3) -> (W', H, 3)
    out = np.zeros((side, side, 3), np.uint8)
    (top, left), (bottom, right) = first - corner, end - corner
    out[top:bottom, left:right] = _filtered(wide.transpose(1, 0, 2), rows - above, down)
    return out


def _filtered(pixels: Bytes, taps: Ints, weights: Ints) -> Bytes:
    """(N, W, 3) weighted sums of (M, W, 3) pixels along the first axis; tap by tap, which bounds the memory."""
    total = np.full((len(taps), *pixels.shape[1:]), 1 << (_BITS - 1), np.int64)
    for tap, weight in zip(taps.T, weights.T, strict=True):
        total += pixels[tap] * weight[:, None, None]
    return (total >> _BITS).clip(0, 255).astype(np.uint8)


def _taps(before: int, after: int, first: int, end: int, interpolation: Interpolation) -> tuple[Ints, Ints]:
    """(N, T) the input pixels from which the output pixels `first` to `end` are computed, and their weights."""
    scale = before / after
    stretch = max(scale, 1.0)
    support = _RADIUS[interpolation] * stretch
    centres = (np.arange(first, end) + 0.5) * scale
    low = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centres + support + 0.5).astype(np.int64), before)
    taps = low[:, None] + np.arange((high - low).max())
    weights = _filter((taps - centres[:, None] + 0.5) * (1 / stretch), interpolation)
    weights[taps >= high[:, None]] = 0
    weights *= 1 / weights.cumsum(1)[:, -1:]  # summed in Pillow's order
    return np.minimum(taps, before - 1), np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights)).astype(np.int64)


def _filter(x: NDArray[np.float64], interpolation: Interpolation) -> NDArray[np.float64]:
    x, a = np.abs(x), _SHARPNESS
    if interpolation == "bilinear":
        return np.where(x < 1, 1 - x, 0)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0))

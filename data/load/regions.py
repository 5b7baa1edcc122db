"""Converts a plan's windows to regions: to decode what the output needs, and to resize a part of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.plan.crops import inside
from data.plan.draws import Ints
from data.plan.samples import Samples


@dataclass(frozen=True, slots=True)
class Regions:
    """Where to decode, pad, and resize, for the N images of a batch; all pairs are (vertical, horizontal) pixels."""

    start: NDArray[np.int32]
    """(N, 2) first pixel to decode."""
    shape: NDArray[np.int32]
    """(N, 2) pixels to decode."""
    pad_start: NDArray[np.int32]
    """(N, 2) top left of the padded window, relative to what was decoded; 0 or less."""
    pad_shape: NDArray[np.int32]
    """(N, 2) size of the padded window."""
    low: NDArray[np.float32]
    """(N, 2) top left of the part that becomes the output; top right where the image is flipped."""
    high: NDArray[np.float32]
    """(N, 2) the opposite corner."""

    def columns(self, *, padded: bool) -> list[NDArray[Any]]:
        """The columns in order, those of the padding only with `padded`."""
        names = [name for name in self.__slots__ if padded or not name.startswith("pad_")]
        return [getattr(self, name) for name in names]

    def blank(self, rows: list[int], side: int) -> None:
        """Make the regions of some rows those of a whole square image."""
        for column, value in zip(self.__slots__, (0, side, 0, side, 0, side), strict=True):
            getattr(self, column)[rows] = value


def regions(samples: Samples, widths: Ints, heights: Ints) -> Regions:
    """What to decode and resize, for the same result as resizing the whole window and cropping it.

    Args:
        samples: The plan for a batch.
        widths: (N,) of the images, pixels.
        heights: (N,) of the images, pixels.
    """
    window = samples.windows[:, 2:]
    scale = window / samples.sizes
    low, high = samples.corners * scale, (samples.corners + samples.side) * scale  # in the window
    radius = np.where(samples.cubic, 2, 1)[:, None]
    reach = radius * np.maximum(scale, 1) + 1  # of a filter with antialias, and a pixel for rounding
    first = np.clip(np.floor(low - reach), 0, window - 1).astype(np.int64)
    end = np.clip(np.ceil(high + reach), first + 1, window).astype(np.int64)
    needed = np.concatenate([samples.windows[:, :2] + first, end - first], axis=1)
    stored = inside(needed, widths, heights)
    low, high = low - first, high - first
    low[:, 1], high[:, 1] = (
        np.where(samples.flips, high[:, 1], low[:, 1]),
        np.where(samples.flips, low[:, 1], high[:, 1]),
    )
    return Regions(
        start=_as(np.int32, stored[:, :2]),
        shape=_as(np.int32, stored[:, 2:]),
        pad_start=_as(np.int32, needed[:, :2] - stored[:, :2]),
        pad_shape=_as(np.int32, needed[:, 2:]),
        low=_as(np.float32, low),
        high=_as(np.float32, high),
    )


def at_border(samples: Samples, row: int) -> bool:
    """Whether the resize's filter reaches over the border of the window, where DALI and Pillow differ."""
    size, corner = samples.sizes[row], samples.corners[row]
    reach = np.maximum(1, size / samples.windows[row, 2:])  # output pixels
    return bool((corner < reach).any() or (size - corner - samples.side < reach).any())


def _as(dtype: Any, values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype)

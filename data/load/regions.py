"""A plan's windows as a decoder and a resizer take them: decode what the output needs, then resize a part of that."""

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
    """(N, 2) where the padded window begins in what was decoded; 0 or less."""
    pad_shape: NDArray[np.int32]
    """(N, 2) size of the padded window."""
    low: NDArray[np.float32]
    """(N, 2) what of that becomes the output: its beginning. Where the image is to be flipped, its horizontal end."""
    high: NDArray[np.float32]
    """(N, 2) the other corner."""

    def columns(self, *, padded: bool) -> list[NDArray[Any]]:
        """The columns in order, those of the padding only where it is asked for."""
        names = [name for name in self.__slots__ if padded or not name.startswith("pad_")]
        return [getattr(self, name) for name in names]

    def blank(self, rows: list[int], side: int) -> None:
        """Let some rows take the whole of a square image of that side."""
        for column, value in zip(self.__slots__, (0, side, 0, side, 0, side), strict=True):
            getattr(self, column)[rows] = value


def regions(samples: Samples, widths: Ints, heights: Ints) -> Regions:
    """What to decode and resize, so that the result is that of resizing the whole window and cropping it.

    Args:
        samples: The plan for a batch.
        widths: (N,) of the images, pixels.
        heights: (N,) of the images, pixels.
    """
    window = samples.windows[:, 2:]
    scale = window / samples.sizes
    low, high = samples.corners * scale, (samples.corners + samples.side) * scale  # in the window
    reach = np.maximum(scale, 1) + 1  # how far a bilinear filter with antialias looks, and a pixel for rounding
    first = np.clip(np.floor(low - reach), 0, window - 1).astype(np.int64)
    end = np.clip(np.ceil(high + reach), first + 1, window).astype(np.int64)
    needed = np.concatenate([samples.windows[:, :2] + first, end - first], axis=1)
    found = inside(needed, widths, heights)
    low, high = low - first, high - first
    low[:, 1], high[:, 1] = (
        np.where(samples.flips, high[:, 1], low[:, 1]),
        np.where(samples.flips, low[:, 1], high[:, 1]),
    )
    return Regions(
        start=_as(np.int32, found[:, :2]),
        shape=_as(np.int32, found[:, 2:]),
        pad_start=_as(np.int32, needed[:, :2] - found[:, :2]),
        pad_shape=_as(np.int32, needed[:, 2:]),
        low=_as(np.float32, low),
        high=_as(np.float32, high),
    )


def at_border(samples: Samples, row: int) -> bool:
    """Whether the output's filters reach over the border of the window, where DALI's and Pillow's differ."""
    size, corner = samples.sizes[row], samples.corners[row]
    reach = np.maximum(1, size / samples.windows[row, 2:])  # output pixels
    return bool((corner < reach).any() or (size - corner - samples.side < reach).any())


def _as(dtype: Any, values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values, dtype)

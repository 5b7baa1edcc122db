"""Geometry of crops, computed as torchvision does, for whole batches."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.plan.draws import Floats, Ints

TRIES = 10  # torchvision's RandomResizedCrop tries as often before it takes the centre
RATIO = (3 / 4, 4 / 3)  # width : height of a crop (1409.4842, section 6)
DRAWS = 24  # for each image: 2 a try, 2 for the corner, the interpolation, the flip; a multiple of Philox's block of 4
CUBIC = 2 * TRIES + 2  # column of the interpolation


def resized(draws: Floats, widths: Ints, heights: Ints, area: tuple[float, float]) -> Ints:
    """Random resized crops with torchvision's distribution.

    Args:
        draws: (N, DRAWS) uniform in [0, 1).
        widths: (N,) pixels.
        heights: (N,) pixels.
        area: Least and greatest share of the image's area.

    Returns:
        (N, 4) top, left, height, width, inside the image.

    Reference:
        torchvision.transforms.RandomResizedCrop.get_params.
    """
    share = area[0] + (area[1] - area[0]) * draws[:, 0 : 2 * TRIES : 2]
    low, high = np.log(RATIO)
    ratio = np.exp(low + (high - low) * draws[:, 1 : 2 * TRIES : 2])
    pixels = share * (widths * heights)[:, None]
    crop_w, crop_h = np.rint(np.sqrt(pixels * ratio)), np.rint(np.sqrt(pixels / ratio))  # (N, tries)
    fits = (crop_w > 0) & (crop_w <= widths[:, None]) & (crop_h > 0) & (crop_h <= heights[:, None])
    first = np.argmax(fits, axis=1)
    rows, fit = np.arange(len(widths)), fits.any(axis=1)
    centre_w, centre_h = _largest_centre(widths, heights)
    w = np.where(fit, crop_w[rows, first], centre_w)
    h = np.where(fit, crop_h[rows, first], centre_h)
    corner = draws[:, 2 * TRIES : 2 * TRIES + 2]
    top = np.where(fit, np.floor(corner[:, 0] * (heights - h + 1)), (heights - h) // 2)
    left = np.where(fit, np.floor(corner[:, 1] * (widths - w + 1)), (widths - w) // 2)
    return np.stack([top, left, h, w], axis=1).astype(np.int64)


def padded(draws: Floats, widths: Ints, heights: Ints, padding: int, side: int) -> Ints:
    """Square crops at random positions in padded images, which may lie partly outside the image.

    Args:
        draws: (N, DRAWS) uniform in [0, 1).
        widths: (N,) pixels.
        heights: (N,) pixels.
        padding: Black pixels on each side.
        side: Of the crop; where the padded image is smaller, both have the same centre.

    Returns:
        (N, 4) top, left, height, width, in pixels of the image without its padding.

    Reference:
        torchvision.transforms.RandomCrop with `padding`; 1512.03385, section 4.2.
    """
    corner = draws[:, 2 * TRIES : 2 * TRIES + 2]
    margin = np.stack([heights, widths], axis=1) + 2 * padding - side
    top_left = np.where(margin >= 0, np.floor(corner * (margin + 1)), margin // 2) - padding
    return np.concatenate([top_left, np.full_like(top_left, side)], axis=1).astype(np.int64)


def simple(draws: Floats, sizes: Ints, padding: int, side: int) -> tuple[Ints, Ints]:
    """Square crops at random positions in resized images with reflected pixels around them.

    Args:
        draws: (N, DRAWS) uniform in [0, 1).
        sizes: (N, 2) height, width of the images, at least `side`.
        padding: Reflected pixels on each side.
        side: Of the crop.

    Returns:
        (N, 2) top, left of the nearest square inside of the image, and (N, 2) how far the crop lies below and to the
        right of it: its rows and columns are those of this square, moved and reflected at its sides.

    Reference:
        torchvision.transforms.RandomCrop with `padding` and `padding_mode="reflect"`; DeiT III's augment.py.
    """
    corners = (
        np.floor(draws[:, 2 * TRIES : 2 * TRIES + 2] * (sizes + 2 * padding - side + 1)).astype(np.int64) - padding
    )
    inner = np.clip(corners, 0, sizes - side)
    return inner, corners - inner


def eval_sizes(widths: Ints, heights: Ints, shorter: int) -> Ints:
    """(N, 2) height, width, the shorter side being `shorter` and the longer rounded down.

    Reference:
        torchvision.transforms.functional._compute_resized_output_size.
    """
    short, long = np.minimum(widths, heights), np.maximum(widths, heights)
    longer = (shorter * long / short).astype(np.int64)
    upright = heights > widths
    return np.stack([np.where(upright, longer, shorter), np.where(upright, shorter, longer)], axis=1)


def centre(sizes: Ints, side: int) -> Ints:
    """(N, 2) top, left of the square in the middle of images of (N, 2) height, width.

    Reference:
        torchvision.transforms.functional.center_crop.
    """
    return np.rint((sizes - side) / 2).astype(np.int64)


def five(sizes: Ints, side: int) -> Ints:
    """(N, 5, 2) top, left of the squares in the corners, row by row, and in the middle.

    Reference:
        torchvision.transforms.functional.five_crop; 1512.03385, section 3.4.
    """
    none = np.zeros(len(sizes), np.int64)
    tops, lefts = (sizes - side).T
    corners = ((none, none), (none, lefts), (tops, none), (tops, lefts))
    return np.stack([*(np.stack(corner, axis=1) for corner in corners), centre(sizes, side)], axis=1)


def inside(windows: Ints, widths: Ints, heights: Ints) -> Ints:
    """(N, 4) the part of each window that lies in its image, at least one pixel."""
    top, left, height, width = windows.T
    first_row, first_column = np.clip(top, 0, heights - 1), np.clip(left, 0, widths - 1)
    end_row = np.clip(top + height, first_row + 1, heights)
    end_column = np.clip(left + width, first_column + 1, widths)
    return np.stack([first_row, first_column, end_row - first_row, end_column - first_column], axis=1)


def _largest_centre(widths: Ints, heights: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
    ratio = widths / heights
    w = np.where(ratio > RATIO[1], np.rint(heights * RATIO[1]), widths)
    h = np.where(ratio < RATIO[0], np.rint(widths / RATIO[0]), heights)
    return w, h

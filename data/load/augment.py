"""Augments images as `data.plan.policies` has chosen, on any device, with the same pixels as torchvision.

The result for an image does not depend on the others in the batch, and nothing here waits for the device.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.load import blur, colours, pillow_warps, warps
from data.load.colours import on_device
from data.plan.draws import Floats, Ints
from data.plan.operations import Op, PillowOp, own
from data.plan.policies import Choices

Change = Callable[[Tensor, Floats], Tensor]
"""From images (N, 3, H, W) uint8 and a number for each to such images."""

JITTERS: tuple[Change, ...] = (colours.brightness, colours.contrast, colours.saturation, colours.hue)
NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])


def apply(images: Tensor, choices: Choices, fill: tuple[int, int, int]) -> None:
    """Augment images in place.

    Args:
        images: (N, H, W, 3) uint8.
        choices: Augmentations of each image.
        fill: Colour of erased rectangles, and outside of images with timm's policies.

    Reference:
        torchvision.transforms.v2: the policies with bilinear interpolation and black outside of the image, as
        torchvision's reference scripts set them up; ColorJitter; RandomErasing. timm.data.auto_augment.
    """
    jittered = choices.jitter != NEUTRAL
    if choices.ops.any() or jittered.any():
        planes = images.permute(0, 3, 1, 2).contiguous()  # (N, H, W, 3) -> (N, 3, H, W)
        for ops, magnitudes in zip(choices.ops.T, choices.magnitudes.T, strict=True):
            _operate(planes, ops, magnitudes, fill)
        for columns in choices.jitter_order.T:
            _jitter(planes, columns, choices.jitter, jittered)
        torch.stack(planes.unbind(1), dim=-1, out=images)  # (N, 3, H, W) -> (N, H, W, 3); faster than a copy
    _erase(images, choices.boxes, fill)


def reflect(images: Tensor, shifts: Ints, flips: NDArray[np.bool_]) -> None:
    """Move images in place by less than their side, and fill the gap with the reflection of what was moved.

    Args:
        images: (N, S, S, 3) uint8.
        shifts: (N, 2) pixels that the view moves down and to the right.
        flips: (N,) mirrored already: right is left.
    """
    side, last = images.shape[1], images.shape[1] - 1
    steps = np.where(np.stack([flips & False, flips], axis=1), -shifts, shifts)
    lines = last - np.abs(last - np.abs(np.arange(side) + steps[:, :, None]))  # (N, 2, S)
    rows, columns = on_device(torch.from_numpy(lines), images.device).unbind(1)
    rows = rows + side * torch.arange(len(images), device=images.device)[:, None]
    places = rows[:, :, None] * side + columns[:, None]
    images.copy_(images.reshape(-1, 3).index_select(0, places.flatten()).view_as(images))


def _operate(planes: Tensor, ops: Ints, magnitudes: Floats, fill: tuple[int, int, int]) -> None:
    users = dict(enumerate(own(), len(Op)))
    for op, rows in _groups(ops):
        if op != Op.NONE:
            warp = partial(pillow_warps.warp, op=op, fill=fill)
            _change(planes, rows, OPERATIONS.get(op) or users.get(op, warp), magnitudes[rows])


def _jitter(planes: Tensor, columns: Ints, factors: Floats, jittered: NDArray[np.bool_]) -> None:
    for column, rows in _groups(columns):
        affected = rows[jittered[rows, column]]
        if len(affected):
            _change(planes, affected, JITTERS[column], factors[affected, column])


def _erase(images: Tensor, boxes: Ints, fill: tuple[int, int, int]) -> None:
    rows = np.flatnonzero(boxes[:, 2])
    if not len(rows):
        return
    colour = on_device(torch.tensor(fill, dtype=torch.uint8), images.device)
    for row, (top, left, height, width) in zip(rows.tolist(), boxes[rows].tolist(), strict=True):
        images[row, top : top + height, left : left + width] = colour


def _groups(codes: Ints) -> Iterator[tuple[int, Ints]]:
    """Each code with its rows."""
    for code in np.unique(codes).tolist():
        yield code, np.flatnonzero(codes == code)


def _change(planes: Tensor, rows: Ints, change: Change, numbers: Floats) -> None:
    """Replace some images by their changed versions."""
    if len(rows) == 1:
        image = planes[rows[0] : rows[0] + 1]
        image.copy_(change(image, numbers))
    else:
        index = on_device(torch.from_numpy(rows), planes.device)
        planes.index_copy_(0, index, change(planes.index_select(0, index), numbers))


def _by_difference(change: Change, images: Tensor, differences: Floats) -> Tensor:
    """The magnitude of a factor is its difference from 1."""
    return change(images, 1.0 + differences)


def _without_magnitude(change: Callable[[Tensor], Tensor], images: Tensor, _: Floats) -> Tensor:
    return change(images)


OPERATIONS: Mapping[int, Change] = MappingProxyType(
    {
        Op.SHEAR_X: warps.shear_x,
        Op.SHEAR_Y: warps.shear_y,
        Op.TRANSLATE_X: warps.translate_x,
        Op.TRANSLATE_Y: warps.translate_y,
        Op.ROTATE: warps.rotate,
        Op.BRIGHTNESS: partial(_by_difference, colours.brightness),
        Op.COLOR: partial(_by_difference, colours.saturation),
        Op.CONTRAST: partial(_by_difference, colours.contrast),
        Op.SHARPNESS: partial(_by_difference, colours.sharpness),
        Op.POSTERIZE: colours.posterize,
        Op.SOLARIZE: colours.solarize,
        Op.AUTO_CONTRAST: partial(_without_magnitude, colours.autocontrast),
        Op.EQUALIZE: partial(_without_magnitude, F.equalize),
        Op.INVERT: partial(_without_magnitude, F.invert),
        PillowOp.SOLARIZE_ADD: colours.solarize_add,
        PillowOp.GREY: partial(_without_magnitude, blur.grey),
        PillowOp.BLUR: blur.blur,
    }
)

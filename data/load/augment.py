"""Carries out the choices of `data.plan.policies` on images, on any device, with torchvision's own pixels.

What happens to an image does not depend on the others in the batch, and nothing here waits for the device, as the host
knows what to do.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.load import colours, warps
from data.load.colours import on_device
from data.plan.draws import Floats, Ints
from data.plan.policies import Choices
from data.plan.policy_tables import OWN, Op

Change = Callable[[Tensor, Floats], Tensor]
"""From images (N, 3, H, W) uint8 and a number for each to images of the same shape and type."""

JITTERS: tuple[Change, ...] = (colours.brightness, colours.contrast, colours.saturation, colours.hue)
NEUTRAL = np.array([1.0, 1.0, 1.0, 0.0])


def apply(images: Tensor, choices: Choices, fill: tuple[int, int, int]) -> None:
    """Augment images where they lie.

    Args:
        images: (N, H, W, 3) uint8, changed in place.
        choices: What befalls each of them.
        fill: Colour that erasing leaves.

    Reference:
        torchvision.transforms.v2: the policies with bilinear interpolation and black outside of the image, as
        torchvision's reference scripts set them up; ColorJitter; RandomErasing.
    """
    jittered = choices.jitter != NEUTRAL
    if choices.ops.any() or jittered.any():
        planes = images.permute(0, 3, 1, 2).contiguous()  # (N, H, W, 3) -> (N, 3, H, W)
        for ops, magnitudes in zip(choices.ops.T, choices.magnitudes.T, strict=True):
            _operate(planes, ops, magnitudes)
        for columns in choices.jitter_order.T:
            _jitter(planes, columns, choices.jitter, jittered)
        torch.stack(planes.unbind(1), dim=-1, out=images)  # (N, 3, H, W) -> (N, H, W, 3); faster than a copy
    _erase(images, choices.boxes, fill)


def _operate(planes: Tensor, ops: Ints, magnitudes: Floats) -> None:
    """One operation of a policy on each image."""
    for op, rows in _groups(ops):
        if op != Op.NONE:
            _change(planes, rows, OPERATIONS[op], magnitudes[rows])


def _jitter(planes: Tensor, columns: Ints, factors: Floats, jittered: NDArray[np.bool_]) -> None:
    """One of the four kinds of jitter on each image."""
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
    """Each code with the rows that hold it."""
    for code in np.unique(codes).tolist():
        yield code, np.flatnonzero(codes == code)


def _change(planes: Tensor, rows: Ints, change: Change, numbers: Floats) -> None:
    """Put what becomes of some images in their place."""
    if len(rows) == 1:
        image = planes[rows[0] : rows[0] + 1]
        image.copy_(change(image, numbers))
    else:
        index = on_device(torch.from_numpy(rows), planes.device)
        planes.index_copy_(0, index, change(planes.index_select(0, index), numbers))


def _by_departure(change: Change, images: Tensor, departures: Floats) -> Tensor:
    """What policies call the magnitude of a factor: its distance from 1."""
    return change(images, 1.0 + departures)


def _alone(change: Callable[[Tensor], Tensor], images: Tensor, _: Floats) -> Tensor:
    """An operation without a magnitude."""
    return change(images)


OPERATIONS: Mapping[int, Change] = MappingProxyType(
    {
        Op.SHEAR_X: warps.shear_x,
        Op.SHEAR_Y: warps.shear_y,
        Op.TRANSLATE_X: warps.translate_x,
        Op.TRANSLATE_Y: warps.translate_y,
        Op.ROTATE: warps.rotate,
        Op.BRIGHTNESS: partial(_by_departure, colours.brightness),
        Op.COLOR: partial(_by_departure, colours.saturation),
        Op.CONTRAST: partial(_by_departure, colours.contrast),
        Op.SHARPNESS: partial(_by_departure, colours.sharpness),
        Op.POSTERIZE: colours.posterize,
        Op.SOLARIZE: colours.solarize,
        Op.AUTO_CONTRAST: partial(_alone, colours.autocontrast),
        Op.EQUALIZE: partial(_alone, F.equalize),
        Op.INVERT: partial(_alone, F.invert),
        **{len(Op) + number: operation for number, operation in enumerate(OWN)},
    }
)

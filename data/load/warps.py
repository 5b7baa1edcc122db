"""Shears, rotations and translations of a batch, with a magnitude for each image.

torchvision's functions take one magnitude for all images of a call. Here the result for an image does not depend on the
others in the batch. Images are (N, 3, H, W) uint8 throughout; pixels from outside of the image are black.

Reference:
    torchvision.transforms.v2.functional: `affine` and `rotate`, bilinear, as its augmentation policies call them.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.load.colours import on_device, to_bytes
from data.plan.draws import Floats

Matrix = tuple[float, float, float, float, float, float]
"""Two rows that map a position (x, y, 1) in the new image to one in the old, in pixels from the centre."""


def shear_x(images: Tensor, tangents: Floats) -> Tensor:
    """Move rows to the right, lower rows further; the top row is not moved."""
    height = images.shape[2]
    matrices = list[Matrix]()
    for tangent in tangents.tolist():
        slope = math.tan(_there_and_back(tangent))
        matrices.append((1.0, slope, slope * (height * 0.5), 0.0, 1.0, 0.0))
    return _warped(images, matrices)


def shear_y(images: Tensor, tangents: Floats) -> Tensor:
    """Move columns down, columns on the right further; the leftmost column is not moved."""
    height, width = images.shape[2:]
    matrices = list[Matrix]()
    for tangent in tangents.tolist():
        angle = _there_and_back(tangent)
        slope = math.sin(angle) / math.cos(angle)
        # rounded as torchvision rounds it
        offset = (-0.5 * height + slope * (width * 0.5)) + 0.5 * height
        matrices.append((1.0, 0.0, 0.0, slope, 1.0, offset))
    return _warped(images, matrices)


def rotate(images: Tensor, degrees: Floats) -> Tensor:
    """Rotate around the centre, counter-clockwise."""
    matrices = list[Matrix]()
    for angle in degrees.tolist():
        turn = math.radians(-(angle % 360))
        cosine, sine = math.cos(turn), math.sin(turn)
        matrices.append((cosine, sine, 0.0, -sine, cosine, 0.0))
    return _warped(images, matrices)


def translate_x(images: Tensor, pixels: Floats) -> Tensor:
    """Move to the right by whole pixels."""
    return _shifted(images, pixels, axis=2)


def translate_y(images: Tensor, pixels: Floats) -> Tensor:
    """Move down by whole pixels."""
    return _shifted(images, pixels, axis=1)


def _there_and_back(tangent: float) -> float:
    """The angle, by way of degrees as in torchvision, for the same last bit."""
    return math.radians(math.degrees(math.atan(tangent)))


def _warped(images: Tensor, matrices: Sequence[Matrix]) -> Tensor:
    grid = _grid(images, matrices)
    pixels = functional.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return to_bytes(pixels.round_())


def _grid(images: Tensor, matrices: Sequence[Matrix]) -> Tensor:
    """(N, H, W, 2) x, y in the old image, -1 to 1.

    torchvision multiplies matrices here. Separate products and sums take a fifth of the time, are the same on every
    device, and lose no bits where a GPU may use TensorFloat-32. Where a processor's matrix product keeps more bits,
    torchvision's images differ from these by one level in up to one value of 200.
    """
    height, width = images.shape[2:]
    halves = np.array([0.5 * width, 0.5 * height], np.float32)
    rows = np.array(matrices, np.float32).reshape(-1, 2, 3) / halves[:, None]
    scaled = on_device(torch.from_numpy(rows), images.device)[:, :, :, None, None]
    x, y = _from_centre(width, images.device), _from_centre(height, images.device)[:, None]
    # (N, 2, H, W), coordinates in planes: three times as fast as in pairs
    grid = scaled[:, :, 0] * x + scaled[:, :, 1] * y
    return grid.add_(scaled[:, :, 2]).permute(0, 2, 3, 1)  # (N, 2, H, W) -> (N, H, W, 2)


def _from_centre(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.float32, device=device) - (count - 1) * 0.5


def _shifted(images: Tensor, pixels: Floats, axis: int) -> Tensor:
    """Equal to torchvision's bilinear samples at whole pixels."""
    moved = torch.zeros_like(images)
    size = images.shape[axis + 1]
    for old, new, step in zip(images, moved, pixels.astype(np.int64).tolist(), strict=True):
        if (left := size - abs(step)) > 0:
            new.narrow(axis, max(step, 0), left).copy_(old.narrow(axis, max(-step, 0), left))
    return moved

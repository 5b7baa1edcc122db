import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from data.load import warps
from data.load.augment import Change

BILINEAR = InterpolationMode.BILINEAR
SIZES = [(8, 8), (32, 32), (33, 50), (96, 96)]


def images(count: int, size: tuple[int, int]) -> Tensor:
    made = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.manual_seed(size[1]))
    made[0] = 255  # shows what comes from outside
    return made


def sheared(image: Tensor, degrees: list[float]) -> Tensor:
    return F.affine(image, 0.0, [0, 0], 1.0, degrees, interpolation=BILINEAR, center=[0, 0])


def shear_x(image: Tensor, tangent: float) -> Tensor:
    return sheared(image, [math.degrees(math.atan(tangent)), 0.0])


def shear_y(image: Tensor, tangent: float) -> Tensor:
    return sheared(image, [0.0, math.degrees(math.atan(tangent))])


def rotate(image: Tensor, degrees: float) -> Tensor:
    return F.rotate(image, degrees, interpolation=BILINEAR)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("ours", "theirs", "numbers"),
    [
        (warps.shear_x, shear_x, [0.0, 0.09, -0.09, 0.3, -0.3, 0.99, -0.99, 0.5]),
        (warps.shear_y, shear_y, [0.0, 0.09, -0.09, 0.3, -0.3, 0.99, -0.99, 0.5]),
        (warps.rotate, rotate, [0.0, 9.0, -9.0, 90.0, -90.0, 135.0, -135.0, 27.3]),
    ],
    ids=["shear_x", "shear_y", "rotate"],
)
def test_pixels_are_torchvision_s(
    ours: Change, theirs: Callable[[Tensor, float], Tensor], numbers: list[float], size: tuple[int, int]
) -> None:
    """One level in one value of 200: processors multiply torchvision's matrices with more or fewer bits."""
    for turned in range(2):
        turn = np.roll(numbers, turned * 3)
        before = images(len(turn), size)
        together = ours(before, turn)
        expected = torch.stack([theirs(image, number) for image, number in zip(before, turn.tolist(), strict=True)])
        differences = (together.int() - expected.int()).abs()
        assert differences.max() <= 1
        assert differences.sum() <= differences.numel() / 200
        alone = [ours(before[row : row + 1], turn[row : row + 1]) for row in range(len(turn))]
        assert torch.equal(torch.cat(alone), together)


@pytest.mark.parametrize("size", SIZES)
def test_translations_are_torchvision_s_bilinear_ones(size: tuple[int, int]) -> None:
    pixels = np.array([0.0, 1.0, -1.0, 3.99, -3.99, 7.0, -8.0, 32.0, -32.0, 40.0, 101.5, -101.5])
    before = images(len(pixels), size)
    right, down = warps.translate_x(before, pixels), warps.translate_y(before, pixels)
    for row, step in enumerate(pixels.astype(int).tolist()):
        for moved, offset in ((right, [step, 0]), (down, [0, step])):
            expected = F.affine(before[row], 0.0, offset, 1.0, [0.0, 0.0], interpolation=BILINEAR)
            assert torch.equal(moved[row], expected), (row, offset)


def test_a_dot_is_turned_and_moved_as_the_names_say() -> None:
    dot = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    dot[..., 4, 6] = 255  # right of the centre
    assert (warps.rotate(dot, np.array([90.0]))[0, 0] == 255).nonzero().tolist() == [[2, 4]]
    assert (warps.translate_x(dot, np.array([2.0]))[0, 0] == 255).nonzero().tolist() == [[4, 8]]
    assert (warps.translate_y(dot, np.array([-4.0]))[0, 0] == 255).nonzero().tolist() == [[0, 6]]

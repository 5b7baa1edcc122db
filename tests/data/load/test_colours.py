from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from data.load import colours
from data.load.augment import Change

FACTORS = np.array([0.0, 0.1, 0.77, 1.0, 1.27, 1.9, 2.0, 0.5])
CASES: dict[str, tuple[Change, Callable[[Tensor, float], Tensor], np.ndarray]] = {
    "brightness": (colours.brightness, F.adjust_brightness, FACTORS),
    "contrast": (colours.contrast, F.adjust_contrast, FACTORS),
    "saturation": (colours.saturation, F.adjust_saturation, FACTORS),
    "sharpness": (colours.sharpness, F.adjust_sharpness, FACTORS),
    "hue": (colours.hue, F.adjust_hue, np.array([-0.5, -0.3, -1e-9, 0.0, 1e-9, 0.1, 0.333, 0.5])),
    "posterize": (colours.posterize, lambda image, bits: F.posterize(image, int(bits)), np.arange(1.0, 9.0)),
    "solarize": (
        colours.solarize,
        lambda image, share: F.solarize(image, 255.0 * share),
        np.array([0.0, 0.1, 1 / 3, 0.5, 17 / 30, 2 / 3, 0.99, 1.0]),
    ),
    "autocontrast": (
        lambda images, _: colours.autocontrast(images),
        lambda image, _: F.autocontrast(image),
        np.zeros(8),
    ),
}


def images(height: int, width: int) -> Tensor:
    """(8, 3, height, width): noise, dark and few colours, every grey, and one colour."""
    made = torch.randint(0, 256, (8, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(height))
    made[1] //= 5
    made[2] = made[2] // 64 * 64
    made[3] = (torch.arange(height * width) % 256).view(height, width).to(torch.uint8)
    made[4] = 100
    return made


@pytest.mark.parametrize("size", [(8, 8), (33, 21), (96, 97)])
@pytest.mark.parametrize("name", CASES)
def test_pixels_are_torchvision_s_and_the_same_in_any_batch(name: str, size: tuple[int, int]) -> None:
    ours, theirs, numbers = CASES[name]
    before = images(*size)
    kept = before.clone()
    for turned in range(8 if size == (8, 8) else 2):  # every small image by every number
        turn = np.roll(numbers, turned)
        together = ours(before, turn)
        assert together.dtype == torch.uint8
        for row, number in enumerate(turn.tolist()):
            assert torch.equal(together[row], theirs(before[row], number)), (row, number)
        if turned == 0:
            alone = [ours(before[row : row + 1], turn[row : row + 1]) for row in range(8)]
            assert torch.equal(torch.cat(alone), together)
    assert torch.equal(before, kept)


@pytest.mark.parametrize("shift", [-0.5, -0.21, 0.04, 1 / 3])
def test_hues_of_all_colours_are_torchvision_s(shift: float) -> None:
    shades = torch.tensor([*range(0, 256, 5), 1, 2, 128, 254], dtype=torch.uint8)
    every = torch.cartesian_prod(shades, shades, shades).T.reshape(1, 3, len(shades), -1)
    assert torch.equal(colours.hue(every, np.array([shift])), F.adjust_hue(every, shift))


def test_contrast_keeps_its_exact_mean_in_large_images() -> None:
    """The grey values' sum is far beyond the 2 ** 24 up to which float32 counts."""
    large = torch.randint(128, 256, (2, 3, 500, 700), dtype=torch.uint8, generator=torch.manual_seed(0))
    mean = F.rgb_to_grayscale(large).double().mean(dim=(1, 2, 3))
    flattened = colours.contrast(large, np.array([0.0, 0.0]))
    assert flattened[:, 0, 0, 0].tolist() == mean.long().tolist()
    exact = np.float32(large.numpy()) * np.float32(0.7) + mean.numpy()[:, None, None, None] * float(np.float32(0.3))
    found = colours.contrast(large, np.array([0.7, 0.7]))
    assert np.array_equal(found.numpy(), np.clip(exact, 0, 255).astype(np.uint8))

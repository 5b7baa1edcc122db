import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from data.plan.crops import DRAWS, eval_sizes, inside, padded, resized
from data.plan.draws import Stream, uniforms

RNG = np.random.default_rng(0)
WIDTHS, HEIGHTS = RNG.integers(1, 900, (2, 1003))


def draws(count: int, seed: int = 0) -> np.ndarray:
    return uniforms(seed, 0, Stream.CROP, range(count), DRAWS)


def test_crops_lie_inside_the_image() -> None:
    top, left, height, width = resized(draws(1003), WIDTHS, HEIGHTS, (0.08, 1.0)).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (height > 0).all()
    assert (width > 0).all()
    assert (top + height <= HEIGHTS).all()
    assert (left + width <= WIDTHS).all()


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (200, 200), (1000, 100), (50, 600)])
def test_crops_have_the_distribution_of_torchvision_s(width: int, height: int) -> None:
    """Two samples of 4,000: Kolmogorov-Smirnov distances of sides and corners stay under the 0.1 % critical value."""
    count = 4000
    ours = resized(draws(count, 1), np.full(count, width), np.full(count, height), (0.08, 1.0))
    image = Image.new("L", (width, height))
    torch.manual_seed(0)
    draw = transforms.RandomResizedCrop.get_params
    theirs = np.array([draw(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])  # pyright: ignore[reportArgumentType]
    for column in range(4):
        grid = np.arange(max(width, height) + 1)
        cdfs = [np.searchsorted(np.sort(sample[:, column]), grid, "right") / count for sample in (ours, theirs)]
        assert np.abs(cdfs[0] - cdfs[1]).max() < 1.95 * np.sqrt(2 / count)


def test_padded_crops_begin_anywhere_in_the_padded_image() -> None:
    windows = padded(draws(4000), np.full(4000, 32), np.full(4000, 32), padding=4, side=32)
    assert (windows[:, 2:] == 32).all()
    for corner in windows[:, :2].T:
        places, counts = np.unique(corner, return_counts=True)
        assert places.tolist() == list(range(-4, 5))
        assert (np.abs(counts - 4000 / 9) < 6 * 20).all()  # 20: standard deviation of a count


def test_a_padded_crop_of_an_image_that_is_too_small_lies_around_its_centre() -> None:
    assert padded(draws(3), np.full(3, 10), np.full(3, 20), padding=4, side=32).tolist() == [[-6, -11, 32, 32]] * 3


def test_what_lies_inside_of_a_window() -> None:
    windows = np.array([[-4, 3, 32, 32], [0, 0, 32, 32], [-50, 40, 8, 8]])
    found = inside(windows, np.full(3, 32), np.full(3, 32))
    assert found.tolist() == [[0, 3, 28, 29], [0, 0, 32, 32], [0, 31, 1, 1]]


@pytest.mark.parametrize("shorter", [32, 72, 256])
def test_eval_sizes_are_torchvision_s(shorter: int) -> None:
    resize = transforms.Resize(shorter)
    for width, height in [(500, 375), (375, 500), (300, 300), (501, 333), (127, 94), (33, 900)]:
        expected = resize(Image.new("L", (width, height))).size
        ((h, w),) = eval_sizes(np.array([width]), np.array([height]), shorter)
        assert (w, h) == expected

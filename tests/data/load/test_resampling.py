import numpy as np
import PIL
import pytest
from PIL import Image

from data.load import resampling
from data.load.rendering import RESAMPLING
from data.plan import crops
from data.plan.config import Interpolation

PILLOW_13 = int(PIL.__version__.split(".")[0]) >= 13


def shapes(count: int, longest: int) -> list[tuple[int, int, int]]:
    """Heights, widths and shorter sides of evaluations, a fourth of them of extreme shape."""
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.uniform(0, np.log(longest), (count, 3))).astype(int)
    drawn[::8, 0], drawn[4::8, 1] = 1, 2
    return [(height, width, max(shorter, 8)) for height, width, shorter in drawn.tolist()]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_part_has_the_very_pixels_of_the_whole_resized_by_pillow(interpolation: Interpolation) -> None:
    rng = np.random.default_rng(1)
    for height, width, shorter in shapes(200, 300):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (size,) = crops.eval_sizes(np.array([width]), np.array([height]), shorter)
        if size.prod() > 1 << 20:
            continue
        whole = Image.fromarray(pixels).resize(tuple(size[::-1].tolist()), RESAMPLING[interpolation])
        side = int(rng.integers(1, 2 * shorter))
        top, left = crops.five(size[None], side)[0][rng.integers(5)].tolist()
        expected = np.array(whole.crop((left, top, left + side, top + side)))
        part = resampling.part(pixels, size, np.array([top, left]), side, interpolation)
        same = np.array_equal(part, expected)
        if not same and PILLOW_13 and height > size[0]:  # it may filter the columns first
            turned = resampling.part(pixels.swapaxes(0, 1), size[::-1], np.array([left, top]), side, interpolation)
            same = np.array_equal(turned.swapaxes(0, 1), expected)
        assert same, (height, width, shorter, side, top, left)

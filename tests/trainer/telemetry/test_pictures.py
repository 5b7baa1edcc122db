import io

import numpy as np
import pytest
from PIL import Image

from trainer.telemetry.pictures import SIDE, grid


def decoded(count: int, side: int, words: tuple[str, ...] = ("cat",)) -> Image.Image:
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]
    images = [np.full((side, side, 3), colours[number % 3], np.uint8) for number in range(count)]
    picture = grid(images, [words] * count)
    opened = Image.open(io.BytesIO(picture.encoded))
    assert (opened.format, opened.size) == ("JPEG", (picture.width, picture.height))
    return opened


@pytest.mark.parametrize("side", [32, SIDE, 400])
def test_images_of_any_size_lie_in_rows_of_four(side: int) -> None:
    sheet = decoded(5, side)
    step, line = sheet.width // 4, sheet.height // 2
    for number, wanted in enumerate([(250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 10, 10), (10, 250, 10)]):
        row, column = divmod(number, 4)
        found = sheet.getpixel((column * step + SIDE // 2, row * line + SIDE // 2))
        assert found == pytest.approx(wanted, abs=12)


def test_a_caption_is_written_below_its_image_and_cut_where_it_is_too_long() -> None:
    plain, long = (np.asarray(decoded(1, 32, (word,)).convert("L")) for word in ("", "w" * 500))
    below = slice(SIDE + 6, None)
    assert plain[below].min() > 200
    assert long[below].min() < 120
    assert long[below, SIDE + 8 :].min() > 200  # it does not run into the next column

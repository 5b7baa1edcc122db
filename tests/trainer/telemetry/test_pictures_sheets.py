import io

import numpy as np
import pytest
import torch
from PIL import Image

from data.plan.config import InputConfig
from trainer.telemetry import pictures
from trainer.telemetry.mistakes import Mistake
from trainer.telemetry.pictures import SIDE, Picture


def pixel(picture: Picture, x: int, y: int) -> tuple[int, ...]:
    return Image.open(io.BytesIO(picture.encoded)).getpixel((x, y))  # pyright: ignore[reportReturnType]


def test_a_batch_is_shown_with_its_normalisation_taken_back() -> None:
    config = InputConfig(mean=(0.5, 0.25, 0.75), std=(0.5, 0.25, 0.5))
    images = torch.tensor([0.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    shown = pictures.batch(images, torch.tensor([0, 1]), config, ["ant", "bee"])
    assert pixel(shown, SIDE // 2, SIDE // 2) == pytest.approx((128, 128, 64), abs=6)


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (torch.tensor(1), ("bee", "")),
        (torch.tensor([0.0, 0.3, 0.7]), ("70% cat", "30% bee")),
        (torch.tensor([0.0, 1.0, 0.0]), ("100% bee", "")),
    ],
)
def test_an_image_is_labelled_with_its_class_or_the_shares_of_two(target: torch.Tensor, lines: tuple[str, str]) -> None:
    assert pictures._labels(target, ["ant", "bee", "cat"]) == lines


def test_mistakes_are_shown_with_both_classes() -> None:
    mistake = Mistake(np.full((32, 32, 3), 200, np.uint8), 7, 0, 1, 0.9)
    shown = pictures.mistakes([mistake] * 3, ["ant", "bee"])
    assert pixel(shown, SIDE // 2, SIDE // 2) == pytest.approx((200, 200, 200), abs=6)


def test_synsets_get_their_words_and_other_names_stay() -> None:
    assert pictures.display_names(["n01440764", "n02123045"]) == ["tench", "tabby"]
    assert pictures.display_names(["n01440764", "cat"]) == ["n01440764", "cat"]


@pytest.mark.parametrize(("epochs", "count"), [(1, 1), (8, 8), (20, 20), (90, 20), (600, 20)])
def test_pictures_are_spread_over_the_run_first_and_last_epoch_among_them(epochs: int, count: int) -> None:
    chosen = [epoch for epoch in range(epochs) if pictures.wanted(epoch, epochs)]
    assert (chosen[0], chosen[-1]) == (0, epochs - 1)
    assert count <= len(chosen) <= count + 1

"""timm's policies: the pixels of Pillow's operations, as timm calls them."""

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import functional as F

from data.load.augment import apply
from data.plan.config import AugmentConfig
from data.plan.draws import Stream, uniforms
from data.plan.operations import Op, PillowOp
from data.plan.policies import DRAWS, Choices, choices
from tests.data.load import scripted
from tests.data.load.scripted import FILL
from tests.data.making import picture

ROUNDED = ("AutoContrast", "ColorIncreasing", "ContrastIncreasing")  # by torchvision, to another level than by Pillow


def images(count: int, size: int) -> Tensor:
    """(count, size, size, 3) photographs, noise, and one colour."""
    made = torch.from_numpy(np.stack([np.asarray(picture(size, size, seed)) for seed in range(count)]))
    made[1::3] = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    made[2] = torch.tensor([0, 200, 255])
    return made


def only(operations: list[tuple[int, float]]) -> Choices:
    count, (ops, magnitudes) = len(operations), zip(*operations, strict=True)
    return Choices(
        ops=np.array(ops)[:, None],
        magnitudes=np.array(magnitudes)[:, None],
        jitter=np.tile([1.0, 1.0, 1.0, 0.0], (count, 1)),
        jitter_order=np.tile(np.arange(4), (count, 1)),
        boxes=np.zeros((count, 4), np.int64),
    )


@pytest.mark.parametrize("size", [8, 65])
@pytest.mark.parametrize("name", scripted.NAMES)
def test_every_operation_has_the_pixels_of_timm(name: str, size: int) -> None:
    """Exact, but for what is `ROUNDED` (one level), and warps, whose arithmetic has 32 bits (one level in 1 of 50)."""
    before = images(12, size)
    for cubic in (False, True):
        kinds = [(level, negative) for level in (0.02, 3.3, 7.0, 9.0, 9.6, 10.0) for negative in (False, True)]
        theirs = [scripted.operation(name, level, negative=sign, cubic=cubic) for level, sign in kinds]
        codes = [scripted.ours(name, arguments, size, cubic=cubic) for _, arguments in theirs]
        after = before.clone()
        apply(after, only(codes), FILL)
        expected = np.stack(
            [operate(Image.fromarray(image.numpy())) for (operate, _), image in zip(theirs, before, strict=True)]
        )
        apart = np.abs(after.numpy().astype(int) - expected)
        warped = codes[-1][0] > PillowOp.SOLARIZE_ADD
        assert apart.max() <= (name in ROUNDED or warped)
        assert not warped or (apart > 0).mean() < 1 / 50


@pytest.mark.parametrize(("layout", "step"), [("one", 12), ("one", 5), ("strided", 12)])
def test_a_plan_is_carried_out_as_timm_does_whatever_else_is_in_the_batch(layout: str, step: int) -> None:
    config = AugmentConfig(policy="randaugment_timm", randaugment_std=0.5)
    given = uniforms(0, 0, Stream.AUGMENT, range(48), DRAWS)
    before, planned = images(48, 40), choices(config, given, 40, 0.5)
    assert planned is not None
    after = before.clone() if layout == "one" else before.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    for first in range(0, 48, step):
        rows = slice(first, first + step)
        apply(after[rows], planned.rows(rows), FILL)
    for row, image in enumerate(before):
        expected = scripted.augmented(Image.fromarray(image.numpy()), given[row], 2, NormalDist(9, 0.5))
        apart = np.abs(after[row].numpy().astype(int) - np.asarray(expected))
        assert (apart > 2).mean() < 0.02, (row, planned.ops[row])  # a level each; posterize and equalize enlarge it
    assert len(np.unique(planned.ops)) > 15


@pytest.mark.parametrize("size", [8, 33])
def test_three_augment_has_the_pixels_of_deit(size: int) -> None:
    """Grey and solarize exactly, blurs but for one level in a value of 1,000."""
    radii = [0.101, 0.31, 0.52, 0.77, 0.99, 1.2, 1.41, 1.42, 1.7, 1.8, 1.9, 1.999]
    before = images(12, size)
    sources = {
        PillowOp.GREY: (0.0, lambda image, _: image.convert("L").convert("RGB")),  # as of torchvision's Grayscale(3)
        Op.SOLARIZE: (128 / 255, lambda image, _: ImageOps.solarize(image)),
        PillowOp.BLUR: (0.0, lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius))),
    }
    for op, (magnitude, source) in sources.items():
        after = before.clone()
        apply(after, only([(op, magnitude or radius) for radius in radii]), FILL)
        expected = [source(Image.fromarray(image.numpy()), radius) for image, radius in zip(before, radii, strict=True)]
        apart = np.abs(after.numpy().astype(int) - np.stack(expected))
        assert apart.max() <= (op == PillowOp.BLUR)
        assert (apart > 0).mean() < 1 / 1000


def test_jitter_after_three_augment_is_that_of_pillow_by_rounding() -> None:
    """DeiT's ColorJitter works on images of Pillow: contrast and saturation round to another level each."""
    config = AugmentConfig(policy="three_augment", color_jitter=(0.3, 0.3, 0.3, 0.0))
    planned = choices(config, uniforms(0, 0, Stream.AUGMENT, range(24), DRAWS), 40)
    assert planned is not None
    before = images(24, 40)
    plain, after = before.clone(), before.clone()
    apply(plain, replace(planned, jitter=np.tile([1.0, 1.0, 1.0, 0.0], (24, 1))), FILL)
    apply(after, planned, FILL)
    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for row, image in enumerate(plain):
        expected: Any = Image.fromarray(image.numpy())
        for column in planned.jitter_order[row].tolist():
            expected = adjust[column](expected, planned.jitter[row, column]) if column < 3 else expected
        assert np.abs(after[row].numpy().astype(int) - np.asarray(expected)).max() <= 3

"""timm's policies: the pixels of Pillow's operations, as timm calls them."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from data.load.augment import apply
from data.plan.config import AugmentConfig
from data.plan.draws import Stream, uniforms
from data.plan.operations import TimmOp
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


@pytest.mark.parametrize("size", [8, 33, 96])
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
        warped = codes[-1][0] > TimmOp.SOLARIZE_ADD
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

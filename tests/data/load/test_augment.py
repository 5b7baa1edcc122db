from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from data.load import pillow_warps
from data.load.augment import OPERATIONS, apply
from data.plan import policies
from data.plan.config import AugmentConfig, Policy
from data.plan.draws import Stream, uniforms
from data.plan.operations import PillowOp
from data.plan.policies import Choices
from data.plan.policy_tables import RANDAUGMENT, TRIVIALAUGMENT, Op, magnitudes

FILL = (124, 116, 104)
EVERYTHING = AugmentConfig(policy="randaugment", color_jitter=(0.4, 0.4, 0.4, 0.1), erasing=0.5)
WARPS = (Op.SHEAR_X, Op.SHEAR_Y, Op.ROTATE)


def images(count: int, size: int = 40) -> Tensor:
    """(count, size, size, 3) smooth in parts, with noise in others."""
    made = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.manual_seed(count))
    made[:, : size // 2] = made[:, : size // 2] // 9 + torch.arange(size)[:, None].to(torch.uint8) * 4
    return made


def chosen(config: AugmentConfig, count: int, size: int = 40) -> Choices:
    found = policies.choices(config, uniforms(0, 0, Stream.AUGMENT, range(count), policies.DRAWS), size)
    assert found is not None
    return found


def none(count: int) -> Choices:
    return replace(chosen(AugmentConfig(erasing=1.0), count), boxes=np.zeros((count, 4), np.int64))


def augmented(before: Tensor, choices: Choices) -> Tensor:
    after = before.clone()
    apply(after, choices, FILL)
    return after


def operated(image: Tensor, op: Op, magnitude: float) -> Tensor:
    """torchvision's own."""
    interpolation = InterpolationMode.BILINEAR
    policy = v2.RandAugment(interpolation=interpolation)
    name = "Identity" if op is Op.NONE else op.name.title().replace("_", "")
    return torch.as_tensor(policy._apply_image_or_video_transform(image, name, magnitude, interpolation, policy._fill))


def by_torchvision(image: Tensor, choices: Choices) -> Tensor:
    """One image (H, W, 3), operation by operation."""
    planes = image.permute(2, 0, 1)
    for op, magnitude in zip(choices.ops.tolist(), choices.magnitudes.tolist(), strict=True):
        planes = operated(planes, Op(op), magnitude)
    jitters = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for column in choices.jitter_order.tolist():
        if choices.jitter[column] != (0 if column == 3 else 1):
            planes = jitters[column](planes, float(choices.jitter[column]))
    top, left, height, width = choices.boxes.tolist()
    if height:
        planes = F.erase(planes, top, left, height, width, torch.tensor(FILL).view(3, 1, 1))
    return planes.permute(1, 2, 0)


@pytest.mark.parametrize("op", list(Op), ids=lambda op: op.name)
def test_every_operation_at_every_magnitude_gives_torchvision_s_pixels(op: Op) -> None:
    """Shears and rotations: one level in one value of 200, see `test_warps`."""
    ladder = np.concatenate([magnitudes(space, 40)[op, ::3] for space in (RANDAUGMENT, TRIVIALAUGMENT)])
    strengths = np.concatenate([ladder, -ladder]) if op <= Op.SHARPNESS else ladder
    before = images(len(strengths))
    choices = replace(none(len(strengths)), ops=np.full((len(strengths), 1), op), magnitudes=strengths[:, None])
    after = augmented(before, choices)
    for image, found, strength in zip(before, after, strengths.tolist(), strict=True):
        expected = operated(image.permute(2, 0, 1), op, strength).permute(1, 2, 0)
        differences = (found.int() - expected.int()).abs()
        assert differences.max() <= (op in WARPS)
        assert differences.sum() <= differences.numel() / 200


def test_there_is_an_operation_for_every_code() -> None:
    assert [0, *OPERATIONS, *pillow_warps.WARPS] == [*Op, *PillowOp]


def test_operations_jitter_and_erasing_come_in_torchvision_s_order() -> None:
    choices = chosen(replace(EVERYTHING, randaugment_ops=3), 100)
    exact = np.flatnonzero(~np.isin(choices.ops, WARPS).any(axis=1))
    choices = choices.rows(exact)
    before = images(len(exact))
    after = augmented(before, choices)
    expected = [by_torchvision(image, choices.rows(np.array(row))) for row, image in enumerate(before)]
    assert len(exact) > 40
    assert torch.equal(after, torch.stack(expected))


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment", "autoaugment_imagenet", "none"])
def test_an_image_comes_out_the_same_whatever_else_is_in_the_batch(policy: Policy) -> None:
    choices, before = chosen(replace(EVERYTHING, policy=policy), 48, 33), images(48, 33)
    whole = augmented(before, choices)
    for step in (1, 7):
        parts = [slice(first, first + step) for first in range(0, 48, step)]
        assert torch.equal(torch.cat([augmented(before[part], choices.rows(part)) for part in parts]), whole)
    mixed = np.random.default_rng(0).permutation(48)
    assert torch.equal(augmented(before[mixed], choices.rows(mixed)), whole[mixed])


def test_the_number_of_threads_changes_no_pixel() -> None:
    choices, before = chosen(EVERYTHING, 4, 300), images(4, 300)
    alone = augmented(before, choices)
    torch.set_num_threads(3)
    assert torch.equal(augmented(before, choices), alone)


def test_images_are_changed_where_they_lie_and_their_neighbours_are_not() -> None:
    batch = images(12)
    before, part = batch.clone(), slice(4, 8)
    choices = chosen(EVERYTHING, 12).rows(part)
    apply(batch[part], choices, FILL)
    assert torch.equal(batch[part], augmented(before[part], choices))
    assert not torch.equal(batch[part], before[part])
    assert torch.equal(batch[:4], before[:4])
    assert torch.equal(batch[8:], before[8:])


def test_images_for_which_nothing_is_chosen_stay_as_they_are() -> None:
    before = images(4)
    assert torch.equal(augmented(before, none(4)), before)
    some = none(4)
    some.jitter[2] = 1.5, 1.0, 1.0, 0.0
    after = augmented(before, some)
    assert [torch.equal(a, b) for a, b in zip(after, before, strict=True)] == [True, True, False, True]


def test_erased_rectangles_take_the_given_colour() -> None:
    before, choices = images(3), none(3)
    choices.boxes[1] = 3, 5, 10, 20
    after = augmented(before, choices)
    assert (after[1, 3:13, 5:25] == torch.tensor(FILL)).all()
    after[1, 3:13, 5:25] = before[1, 3:13, 5:25]
    assert torch.equal(after, before)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_images_without_being_waited_for() -> None:
    """To one level, as its samples between pixels are rounded otherwise; a later operation may double that."""
    choices, before = chosen(EVERYTHING, 256, 96), images(256, 96)
    there = before.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        apply(there, choices, FILL)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    differences = (there.cpu().int() - augmented(before, choices).int()).abs()
    assert (differences > 1).float().mean() < 1e-3
    assert differences.float().mean() < 0.01

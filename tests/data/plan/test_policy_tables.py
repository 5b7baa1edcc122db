import numpy as np
import pytest
from torchvision.transforms import v2

from data.plan.config import Policy
from data.plan.policy_tables import (
    AUTOAUGMENT,
    DRAWN_OPS,
    FIRST_SIGNED,
    LAST_SIGNED,
    PAIRS,
    RANDAUGMENT,
    TRIVIALAUGMENT,
    Op,
    Space,
    magnitudes,
)

CLASSES = {RANDAUGMENT: v2.RandAugment, TRIVIALAUGMENT: v2.TrivialAugmentWide, AUTOAUGMENT: v2.AutoAugment}


def named(op: Op) -> str:
    return "Identity" if op is Op.NONE else op.name.title().replace("_", "")


@pytest.mark.parametrize("space", CLASSES, ids=["randaugment", "trivialaugment", "autoaugment"])
def test_operations_magnitudes_and_signs_are_torchvision_s(space: Space) -> None:
    theirs = CLASSES[space]._AUGMENTATION_SPACE
    ours = [named(op) for op in Op]
    assert list(theirs) == (ours[1:] if space is AUTOAUGMENT else ours[:DRAWN_OPS])
    for size in (8, 9, 31, 32, 96, 128, 160, 192, 223, 224, 225, 288, 2047, 2048):
        table = magnitudes(space, size)
        for op in Op:
            ladder, signed = theirs.get(named(op), (lambda *_: None, False))
            numbers = ladder(space.bins, size, size)
            expected = np.zeros(space.bins) if numbers is None else numbers.double().numpy()
            assert np.allclose(table[op], expected, rtol=3e-7, atol=1e-7)
            # truncated to whole pixels and bits; a float32 16 may lie below 16
            assert np.array_equal(table[op].astype(int), (expected * (1 + 3e-7)).astype(int))
            assert signed == (FIRST_SIGNED <= op <= LAST_SIGNED)


@pytest.mark.parametrize("policy", list(PAIRS))
def test_autoaugment_s_pairs_are_torchvision_s(policy: Policy) -> None:
    theirs_name = v2.AutoAugmentPolicy(policy.removeprefix("autoaugment_"))
    ours = [tuple((named(op), share, index) for op, share, index in pair) for pair in PAIRS[policy]]
    theirs = [
        tuple((op, share, index or 0) for op, share, index in pair) for pair in v2.AutoAugment(theirs_name)._policies
    ]
    assert ours == theirs


def test_some_magnitudes_by_hand() -> None:
    table = magnitudes(RANDAUGMENT, 224)
    assert np.allclose(table[Op.SHEAR_X, [0, 10, 30]], [0, 0.1, 0.3])
    assert np.allclose(table[Op.TRANSLATE_Y, [15, 30]], [224 * 75 / 331, 224 * 150 / 331])
    assert table[Op.POSTERIZE, [0, 9, 30]].tolist() == [8, 7, 4]
    assert magnitudes(TRIVIALAUGMENT, 224)[Op.TRANSLATE_X, 30] == 32
    assert magnitudes(TRIVIALAUGMENT, 224)[Op.POSTERIZE, 30] == 2

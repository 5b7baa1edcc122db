import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from data.plan.config import AugmentConfig
from data.plan.draws import Stream, uniforms
from data.plan.operations import TO_CUBIC, Op, PillowOp
from data.plan.policies import DRAWS, Choices, choices
from data.plan.timm_policies import RANDAUGMENT
from tests.data.load import scripted

SOURCE = AugmentConfig(policy="randaugment_timm", randaugment_std=0.5)  # rand-m9-mstd0.5-inc1


def draws(count: int) -> np.ndarray:
    return uniforms(0, 0, Stream.AUGMENT, range(count), DRAWS)


def chosen(config: AugmentConfig, count: int, cubic_share: float = 0.5) -> Choices:
    found = choices(config, draws(count), 224, cubic_share)
    assert found is not None
    return found


def as_often_as(counts: np.ndarray, shares: np.ndarray | float, total: int) -> bool:
    """Within 6 standard deviations."""
    spread = np.sqrt(total * np.asarray(shares) * (1 - np.asarray(shares)))
    return bool((np.abs(counts - total * np.asarray(shares)) <= 6 * spread).all())


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize(("magnitude", "std"), [(9, 0.5), (0, 0.0), (10, 0.0), (5, 100.0), (1, 0.5)])
def test_operations_and_arguments_are_those_of_timm_with_the_same_draws(count: int, magnitude: int, std: float) -> None:
    config = replace(SOURCE, randaugment_ops=count, randaugment_magnitude=magnitude, randaugment_std=std)
    found, given = chosen(config, 300), draws(300)
    levels = NormalDist(magnitude, std or 1.0)
    for row, (ops, strengths) in enumerate(zip(found.ops.tolist(), found.magnitudes.tolist(), strict=True)):
        parts = scripted.split(given[row, :count])
        for place, (which, done, negative, cubic) in enumerate(zip(*parts, strict=True)):
            level = levels.inv_cdf(given[row, count + place]) if std else magnitude
            name = scripted.NAMES[which]
            _, arguments = scripted.operation(name, max(0.0, min(level, 10.0)), negative=negative, cubic=cubic)
            op, strength = scripted.ours(name, arguments, 224, cubic=cubic)
            assert ops[place] == (op if done else Op.NONE), (row, name)
            assert math.isclose(strengths[place], strength, abs_tol=1e-12), (row, name, arguments)


def test_operations_are_equally_likely_and_half_of_them_are_left_out() -> None:
    found = chosen(SOURCE, 40_000)
    done = found.ops[found.ops != Op.NONE]
    assert as_often_as(np.array(len(done)), 0.5, 80_000)
    plain = np.where(done > PillowOp.ROTATE, done - TO_CUBIC, done)
    counts = np.array([(plain == op).sum() for op in RANDAUGMENT])
    assert counts.sum() == len(done)
    assert ((counts - len(done) / 15) ** 2 / (len(done) / 15)).sum() < 36.1  # chi-square of 14 degrees, 0.1 %
    warps = done[done > PillowOp.SOLARIZE_ADD]
    assert as_often_as((warps > PillowOp.ROTATE).sum(), 0.5, len(warps))
    turns = found.magnitudes[(found.ops % 10 == 4) & (found.ops > 110)]
    assert as_often_as((turns < 0).sum(), 0.5, len(turns))
    four = np.bincount(2 * (found.ops[:, 0] > 0) + (found.ops[:, 1] > 0))  # independent of each other
    assert as_often_as(four, np.full(4, 0.25), 40_000)


def test_magnitudes_are_normal_and_cut_off() -> None:
    found = chosen(SOURCE, 40_000)
    levels = np.sort(np.abs(found.magnitudes[(found.ops % 10 == 4) & (found.ops > 110)])) / 3
    assert levels[-1] <= 10
    assert as_often_as((levels > 9.999).sum(), 1 - NormalDist().cdf(2), len(levels))
    inner = levels[levels < 9.999]
    expected = np.array([NormalDist(9, 0.5).cdf(level) / NormalDist().cdf(2) for level in inner.tolist()])
    assert np.abs(expected - np.arange(len(inner)) / len(inner)).max() < 1.95 / math.sqrt(len(inner))


@pytest.mark.parametrize(("share", "kinds"), [(0.0, {False}), (1.0, {True})])
def test_interpolation_is_that_of_the_crops(share: float, kinds: set[bool]) -> None:
    ops = chosen(SOURCE, 500, share).ops
    assert set((ops[ops > PillowOp.SOLARIZE_ADD] > PillowOp.ROTATE).tolist()) == kinds


def test_choices_are_these_for_ever() -> None:
    """A change of these numbers is a change of every experiment."""
    found = chosen(SOURCE, 3)
    assert found.ops.tolist() == [[Op.CONTRAST, Op.POSTERIZE], [Op.NONE, Op.NONE], [Op.BRIGHTNESS, Op.NONE]]
    assert np.allclose(found.magnitudes[:, 0], [-0.8031088978871238, 1.0, 0.857711745450707])


def test_three_augment_takes_one_of_three_with_a_radius_of_0_1_to_2() -> None:
    found = chosen(AugmentConfig(policy="three_augment"), 30_000)
    assert found.ops.shape == (30_000, 1)
    counts = [(found.ops == op).sum() for op in (PillowOp.GREY, Op.SOLARIZE, PillowOp.BLUR)]
    assert as_often_as(np.array(counts), np.full(3, 1 / 3), 30_000)
    assert sum(counts) == 30_000
    assert set(found.magnitudes[found.ops == Op.SOLARIZE]) == {128 / 255}
    radii = found.magnitudes[found.ops == PillowOp.BLUR]
    bins, _ = np.histogram(radii, bins=10, range=(0.1, 2.0))
    assert as_often_as(bins, np.full(10, 0.1), len(radii))

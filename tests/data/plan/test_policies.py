import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.data.random_erasing import RandomErasing as TimmErasing
from torchvision import transforms

from data.plan.config import AugmentConfig, Policy
from data.plan.draws import Stream, uniforms
from data.plan.policies import DRAWS, NOISES, Choices, choices, noise
from data.plan.policy_tables import AUTOAUGMENT, DRAWN_OPS, PAIRS, RANDAUGMENT, TRIVIALAUGMENT, Op, magnitudes

EVERYTHING = AugmentConfig(policy="randaugment", color_jitter=(0.4, 1.0, 0.2, 0.1), erasing=0.5)
POLICIES: tuple[Policy, ...] = (
    "none",
    "randaugment",
    "trivialaugment",
    "autoaugment_imagenet",
    "autoaugment_cifar10",
    "autoaugment_svhn",
)
AUTOAUGMENTS: tuple[Policy, ...] = POLICIES[3:]


def draws(count: int, seed: int = 0) -> np.ndarray:
    return uniforms(seed, 0, Stream.AUGMENT, range(count), DRAWS)


def chosen(config: AugmentConfig, count: int = 20_000, size: int = 224) -> Choices:
    found = choices(config, draws(count), size)
    assert found is not None
    return found


def same(ours: Choices, theirs: Choices) -> bool:
    return all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in Choices.__slots__)


def as_often_as(counts: np.ndarray, shares: np.ndarray, total: int) -> bool:
    """Within 6 standard deviations."""
    shares = np.asarray(shares)
    return bool((np.abs(counts - total * shares) <= 6 * np.sqrt(total * shares * (1 - shares))).all())


def test_nothing_is_chosen_where_nothing_is_asked_for() -> None:
    assert choices(AugmentConfig(repeats=3), draws(5), 224) is None
    assert choices(AugmentConfig(erasing=0.1), draws(5), 224) is not None
    assert choices(AugmentConfig(color_jitter=(0, 0, 0, 0.1)), draws(5), 224) is not None


@pytest.mark.parametrize("policy", POLICIES)
def test_choices_of_an_image_follow_from_its_draws_alone(policy: Policy) -> None:
    config = replace(EVERYTHING, policy=policy)
    whole = chosen(config, 100)
    rows = np.array([3, 99, 0])
    assert same(whole.rows(rows), choices(config, draws(100)[rows], 224) or whole)
    assert same(whole.rows(slice(10, 20)), choices(config, draws(100)[10:20], 224) or whole)


def test_one_kind_of_augmentation_changes_no_other() -> None:
    whole = chosen(EVERYTHING, 100)
    jitter = chosen(AugmentConfig(color_jitter=EVERYTHING.color_jitter), 100)
    assert np.array_equal(jitter.jitter, whole.jitter)
    assert np.array_equal(jitter.jitter_order, whole.jitter_order)
    assert jitter.ops.shape == (100, 0)
    assert not jitter.boxes.any()
    policy = chosen(AugmentConfig(policy="randaugment"), 100)
    assert np.array_equal(policy.ops, whole.ops)
    assert (policy.jitter == [1, 1, 1, 0]).all()
    assert np.array_equal(chosen(AugmentConfig(erasing=0.5), 100).boxes, whole.boxes)


@pytest.mark.parametrize(("count", "magnitude"), [(1, 0), (2, 9), (8, 30)])
def test_randaugment_takes_every_operation_equally_often_at_its_magnitude(count: int, magnitude: int) -> None:
    found = chosen(AugmentConfig(policy="randaugment", randaugment_ops=count, randaugment_magnitude=magnitude))
    assert found.ops.shape == (20_000, count)
    expected = magnitudes(RANDAUGMENT, 224)[:, magnitude]
    for ops, strengths in zip(found.ops.T, found.magnitudes.T, strict=True):
        assert as_often_as(np.bincount(ops, minlength=15), np.array([1 / DRAWN_OPS] * DRAWN_OPS + [0]), 20_000)
        assert np.array_equal(np.abs(strengths), expected[ops])
        for op in range(Op.SHEAR_X, DRAWN_OPS):
            negative = np.signbit(strengths[ops == op])
            assert as_often_as(negative.sum(), np.array(0.5 if op <= Op.SHARPNESS else 0.0), len(negative))
    if count == 2:  # independent of one another
        pairs = np.bincount(found.ops[:, 0] * DRAWN_OPS + found.ops[:, 1], minlength=DRAWN_OPS**2)
        assert as_often_as(pairs, np.full(DRAWN_OPS**2, DRAWN_OPS**-2), 20_000)


def test_trivialaugment_takes_one_operation_at_any_magnitude() -> None:
    found = chosen(AugmentConfig(policy="trivialaugment"), 50_000)
    assert found.ops.shape == (50_000, 1)
    assert as_often_as(np.bincount(found.ops[:, 0]), np.full(DRAWN_OPS, 1 / DRAWN_OPS), 50_000)
    ladder = magnitudes(TRIVIALAUGMENT, 224)[Op.ROTATE]
    rotations = found.magnitudes[found.ops == Op.ROTATE]
    counts = [(np.abs(rotations) == magnitude).sum() for magnitude in ladder]
    assert as_often_as(np.array(counts), np.full(31, 1 / 31), len(rotations))
    assert as_often_as((rotations < 0).sum(), np.array(0.5 * 30 / 31), len(rotations))
    assert set(found.magnitudes[found.ops == Op.POSTERIZE]) == {2, 3, 4, 5, 6, 7, 8}
    assert set(found.magnitudes[found.ops == Op.EQUALIZE]) == {0}


@pytest.mark.parametrize("policy", AUTOAUGMENTS)
def test_autoaugment_takes_each_pair_equally_often_and_its_halves_with_their_probabilities(policy: Policy) -> None:
    found = chosen(AugmentConfig(policy=policy), 50_000)
    table = magnitudes(AUTOAUGMENT, 224)
    expected = dict[tuple[float, ...], float]()
    for (first, p, i), (second, q, j) in PAIRS[policy]:
        for a, b in itertools.product((True, False), repeat=2):
            key = (first * a, table[first, i] * a, second * b, table[second, j] * b)
            expected[key] = expected.get(key, 0) + (p if a else 1 - p) * (q if b else 1 - q) / 25
    rows = np.stack([found.ops, np.abs(found.magnitudes)], axis=2).reshape(-1, 4)
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    assert {tuple(kind) for kind in kinds.tolist()} <= {key for key, share in expected.items() if share}
    assert as_often_as(counts, np.array([expected[tuple(kind)] for kind in kinds.tolist()]), 50_000)
    rotated = found.magnitudes[found.ops == Op.ROTATE]
    assert as_often_as((rotated < 0).sum(), np.array(0.5), len(rotated))


def test_jitter_is_uniform_around_no_effect_in_any_order() -> None:
    found = chosen(EVERYTHING)
    for factors, (low, high) in zip(found.jitter.T, [(0.6, 1.4), (0.0, 2.0), (0.8, 1.2), (-0.1, 0.1)], strict=True):
        counts, _ = np.histogram(factors, bins=10, range=(low, high))
        assert counts.sum() == 20_000
        assert as_often_as(counts, np.full(10, 0.1), 20_000)
    orders, counts = np.unique(found.jitter_order, axis=0, return_counts=True)
    assert sorted(map(tuple, orders.tolist())) == list(itertools.permutations(range(4)))
    assert as_often_as(counts, np.full(24, 1 / 24), 20_000)


def by_torchvision(size: int, count: int) -> np.ndarray:
    torch.manual_seed(0)
    image, draw = torch.zeros(3, size, size), transforms.RandomErasing.get_params
    return np.array([draw(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(count)])


def by_timm(size: int, count: int) -> np.ndarray:
    """Where its erasing leaves something else than zeros."""
    random.seed(0)
    erase, boxes = TimmErasing(1.0, mode="pixel", device="cpu"), list[list[int]]()
    for _ in range(count):
        pixels = erase(torch.zeros(1, size, size))[0].numpy() != 0
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        boxes.append([rows[0], columns[0], len(rows), len(columns)])
    return np.array(boxes)


def erased(fill: str, size: int, count: int) -> np.ndarray:
    config = AugmentConfig(erasing=1.0, erasing_fill=fill)  # pyright: ignore[reportArgumentType]
    found = chosen(config, count, size).boxes if fill == "mean" else noise(config, draws(count), size)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("size", "fill", "source"),
    [
        (8, "mean", by_torchvision),
        (32, "mean", by_torchvision),
        (224, "mean", by_torchvision),
        (8, "noise", by_timm),
        (64, "noise", by_timm),
    ],
)
def test_erased_rectangles_have_the_distribution_of_their_source(
    size: int, fill: str, source: Callable[[int, int], np.ndarray]
) -> None:
    """Two samples: Kolmogorov-Smirnov distances of sides and corners stay under the 0.1 % critical value."""
    count = 4000
    ours, theirs = erased(fill, size, count), source(size, count)
    for column in range(4):
        grid = np.arange(size + 1)
        cdfs = [np.searchsorted(np.sort(sample[:, column]), grid, "right") / count for sample in (ours, theirs)]
        assert np.abs(cdfs[0] - cdfs[1]).max() < 1.95 * np.sqrt(2 / count)
    assert (ours[:, :2] + ours[:, 2:4] <= size).all()
    assert (ours[:, 2:] > 0).all()


def test_noise_takes_the_place_of_the_mean_and_changes_no_other_augmentation() -> None:
    config = replace(EVERYTHING, erasing_fill="noise")
    whole = chosen(config, 100)
    assert same(whole, replace(chosen(EVERYTHING, 100), boxes=np.zeros((100, 4), np.int64)))
    assert choices(AugmentConfig(erasing=0.5, erasing_fill="noise"), draws(5), 224) is None
    found = noise(config, draws(20_000), 224)
    assert found is not None
    assert as_often_as((found[:, 2] > 0).sum(), np.array(0.5), 20_000)
    counts, _ = np.histogram(found[:, 4], bins=10, range=(0, NOISES))
    assert as_often_as(counts, np.full(10, 0.1), 20_000)
    assert noise(EVERYTHING, draws(5), 224) is None


def test_erasing_comes_as_often_as_asked_and_not_where_no_rectangle_fits() -> None:
    boxes = chosen(AugmentConfig(erasing=0.25)).boxes
    assert as_often_as((boxes[:, 2] > 0).sum(), np.array(0.25), 20_000)
    assert not boxes[boxes[:, 2] == 0].any()
    largest = np.full((1, DRAWS), 0.999999)  # every try is higher than the image
    largest[0, 24] = 0.0
    assert choices(AugmentConfig(erasing=1.0), largest, 224).boxes.tolist() == [[0, 0, 0, 0]]  # pyright: ignore[reportOptionalMemberAccess]


def test_choices_are_these_for_ever() -> None:
    """A change of these numbers is a change of every experiment."""
    found = chosen(EVERYTHING, 1)
    assert found.ops.tolist() == [[Op.CONTRAST, Op.TRANSLATE_Y]]
    assert np.allclose(found.magnitudes, [[-0.27, 30.453172205438065]])
    jitter = [1.1212629571931079, 1.114282969370655, 1.0397130233537493, -0.06855306213684448]
    assert np.allclose(found.jitter, [jitter])
    assert found.jitter_order.tolist() == [[3, 2, 1, 0]]
    assert found.boxes.tolist() == [[51, 30, 69, 137]]
    assert noise(replace(EVERYTHING, erasing_fill="noise"), draws(1), 224).tolist() == [[51, 30, 69, 137, 741131]]  # pyright: ignore[reportOptionalMemberAccess]

from statistics import NormalDist

import numpy as np

from data.plan.draws import Stream, normals, order, ranked, uniforms


def test_the_order_is_a_permutation_and_another_one_each_epoch_and_seed() -> None:
    orders = [order(seed, epoch, 1000) for seed in (0, 1) for epoch in range(3)]
    assert all(np.array_equal(np.sort(found), np.arange(1000)) for found in orders)
    assert all((a == b).mean() < 0.01 for i, a in enumerate(orders) for b in orders[:i])


def test_order_and_draws_are_these_for_ever() -> None:
    """A change of these numbers is a change of every experiment."""
    assert order(0, 0, 10).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert order(7, 3, 10).tolist() == [2, 5, 9, 7, 3, 0, 6, 8, 4, 1]
    assert uniforms(0, 0, Stream.CROP, range(5, 6), 24)[0, :2].tolist() == [0.2135764196266965, 0.369393134464882]
    assert uniforms(7, 3, Stream.CROP, range(1), 24)[0, :2].tolist() == [0.9424616442052944, 0.4166552001828453]


def test_an_order_is_the_stable_sort_of_its_numbers_also_where_their_first_or_all_bits_are_equal() -> None:
    for high, low in ((1 << 63, 1), (1 << 53, 64), (3, 1 << 60), (1, 5), (1, 1)):
        random = np.random.default_rng(high)
        numbers = random.integers(0, high, 1000, np.uint64) * np.uint64(low) + random.integers(0, low, 1000, np.uint64)
        assert np.array_equal(ranked(numbers), np.argsort(numbers, kind="stable"))
    assert [order(0, 0, count).tolist() for count in (0, 1, 2)] == [[], [0], [0, 1]]


def test_draws_follow_from_the_position_alone() -> None:
    whole = uniforms(3, 2, Stream.CROP, range(50), 24)
    assert whole.shape == (50, 24)
    for first in (0, 1, 2, 13, 43):
        assert np.array_equal(uniforms(3, 2, Stream.CROP, range(first, first + 7), 24), whole[first : first + 7])


def test_epochs_and_streams_are_independent() -> None:
    whole = uniforms(3, 2, Stream.CROP, range(50), 24)
    assert not np.array_equal(uniforms(3, 3, Stream.CROP, range(50), 24), whole)
    assert not np.array_equal(uniforms(3, 2, Stream.AUGMENT, range(50), 24), whole)


def test_draws_are_uniform() -> None:
    draws = uniforms(0, 0, Stream.CROP, range(20_000), 24)
    counts = np.stack([np.histogram(column, bins=10, range=(0, 1))[0] for column in draws.T])
    assert draws.min() >= 0
    assert draws.max() < 1
    assert (np.abs(counts - 2000) < 6 * 42).all()  # 42: standard deviation of a bin's count


def test_the_numbers_of_streams_stay_as_runs_have_drawn_by_them() -> None:
    assert {stream.name: stream.value for stream in Stream} == {
        "ORDER": 0,
        "CROP": 1,
        "AUGMENT": 2,
        "MIX": 3,
        "NOISE": 4,
    }


def test_normal_numbers_are_normal_and_these_for_ever() -> None:
    numbers = np.sort(normals(100_001)).astype(float)
    below = np.array([NormalDist().cdf(number) for number in numbers[::100].tolist()])
    assert np.abs(below - np.arange(0, 1, 100 / 100_001)).max() < 1.95 / np.sqrt(100_001)  # Kolmogorov-Smirnov, 0.1 %
    assert numbers[-1] > 3.5
    assert normals(5).tobytes() == normals(100)[:5].tobytes()
    assert np.allclose(normals(4), [0.1729240, 0.3451686, 0.3039728, 0.4415883])

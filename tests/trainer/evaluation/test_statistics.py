import math

import pytest

from trainer.evaluation import statistics


@pytest.mark.parametrize(
    ("right", "count", "interval"),
    [
        (8, 10, (49.02, 94.33)),
        (0, 10, (0.0, 27.75)),
        (10, 10, (72.25, 100.0)),
        (81, 263, (25.53, 36.62)),  # Newcombe, Statistics in Medicine 17 (1998), table I
        (15, 148, (6.24, 16.05)),
        (1, 29, (0.61, 17.18)),
        (38_000, 50_000, (75.62, 76.37)),
    ],
)
def test_an_interval_is_wilson_s(right: int, count: int, interval: tuple[float, float]) -> None:
    assert statistics.wilson(right, count) == pytest.approx(interval, abs=0.006)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 2**5),
        (5, 0, 2 / 2**5),
        (1, 5, 2 * (1 + 6) / 2**6),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int, p_value: float) -> None:
    assert statistics.mcnemar(only_first, only_second) == pytest.approx(p_value, rel=1e-9)


def test_mcnemar_holds_for_large_counts() -> None:
    assert statistics.mcnemar(24_900, 25_100) == pytest.approx(math.erfc(199 / math.sqrt(2 * 50_000)), rel=1e-2)
    assert statistics.mcnemar(0, 50_000) == 0.0
    assert 0 < statistics.mcnemar(300, 700) < 1e-30


def test_a_difference_is_of_paired_shares() -> None:
    """Of 100 images 10 and 4 are right by one alone: the variance is (14 - 36 / 100) / 100**2."""
    gain, low, high = statistics.difference(10, 4, 100)
    half = 1.959964 * math.sqrt(14 - 0.36)
    assert (gain, low, high) == pytest.approx((-6, -6 - half, -6 + half), rel=1e-6)
    assert statistics.difference(0, 0, 9) == (0, 0, 0)

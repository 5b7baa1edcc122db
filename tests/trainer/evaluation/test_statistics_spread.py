import math

import pytest

from trainer.evaluation.statistics import spread, t_quantile


def test_mean_deviation_and_interval_are_those_by_hand() -> None:
    # 71.5; squares 2.25 + 0.25 + 4, over 2: sqrt(3.25) = 1.803; 4.303 * 1.803 / sqrt(3) = 4.479
    found = spread([70.0, 71.0, 73.5])
    assert (found.count, found.mean, found.deviation) == (3, 71.5, pytest.approx(1.8028, abs=1e-4))
    assert found.interval == (pytest.approx(67.021, abs=1e-3), pytest.approx(75.979, abs=1e-3))
    assert str(found) == "71.50 +- 1.80"


def test_one_value_has_no_deviation_and_says_nothing_of_its_mean() -> None:
    found = spread([70.0])
    assert found.deviation is None
    assert found.interval == (-math.inf, math.inf)
    assert str(found) == "70.00"


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (9, 2.262), (30, 2.042), (31, 2.0395), (40, 2.0211), (120, 1.9799), (10_000, 1.9602)],
)
def test_quantiles_are_those_of_the_printed_tables(freedom: int, expected: float) -> None:
    assert t_quantile(freedom) == pytest.approx(expected, abs=1e-4)

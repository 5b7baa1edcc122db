"""Intervals and tests: of right answers among images, and of the mean over seeds. Standard library only."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = statistics.NormalDist().inv_cdf(0.975)
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t, 97.5 % quantile, of 1 to 30 degrees of freedom."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of the share of right answers, percent, of at least one.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    share, square = right / count, Z95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = Z95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value: could two equally good networks differ so much on the same images by chance?

    Args:
        only_first: Images that the first alone has right.
        only_second: Images that the second alone has right.

    Reference:
        McNemar, Psychometrika 12 (1947); the exact form is the binomial test of the images on which they differ.
    """
    count, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    whole = math.lgamma(count + 1) - count * math.log(2)
    logs = [
        whole - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(fewer + 1)
    ]  # of each k's probability
    top = max(logs)
    return min(1.0, 2 * math.exp(top) * math.fsum(math.exp(log - top) for log in logs))


def difference(only_first: int, only_second: int, count: int) -> tuple[float, float, float]:
    """The second's top-1 less the first's, and its 95 % interval, points: for two networks on the same images."""
    gain = (only_second - only_first) / count
    variance = (only_first + only_second - (only_second - only_first) ** 2 / count) / count**2
    half = Z95 * math.sqrt(max(variance, 0.0))
    return 100 * gain, 100 * (gain - half), 100 * (gain + half)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and deviation of some values."""

    count: int
    mean: float
    deviation: float | None
    """Sample standard deviation; None of one value."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean by Student's t; without ends where there is one value."""
        if self.deviation is None:
            return -math.inf, math.inf
        half = t_quantile(self.count - 1) * self.deviation / math.sqrt(self.count)
        return self.mean - half, self.mean + half

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.deviation is None else f"{self.mean:.2f} +- {self.deviation:.2f}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(len(values), statistics.mean(values), deviation)


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: from the table, and beyond it by two terms of its expansion.

    Reference:
        Abramowitz and Stegun, 26.7.5.
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    first = (Z95**3 + Z95) / 4
    second = (5 * Z95**5 + 16 * Z95**3 + 3 * Z95) / 96
    return Z95 + first / freedom + second / freedom**2

"""Mean and spread of a few runs that differ in their seed alone. Standard library only."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t, 97.5 % quantile, of 1 to 30 degrees of freedom."""
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Spread:
    """What so many values have in common."""

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
        """Mean and deviation with two decimals."""
        return f"{self.mean:.2f}" if self.deviation is None else f"{self.mean:.2f} +- {self.deviation:.2f}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(len(values), statistics.mean(values), deviation)


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t; past the table by two terms of its expansion around the normal one.

    Reference:
        Abramowitz and Stegun, 26.7.5.
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    return _Z + first / freedom + second / freedom**2

"""What a number of right and wrong answers says. Standard library and numpy."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # the normal distribution's 97.5th percentile
BINS = 15  # 1706.04599, section 5


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of the share of right answers, percent, of at least one.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    share, square = right / count, Z95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = Z95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def calibration_error(confidence: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 equal bins of confidence, 0 to 1.

    Args:
        confidence: (N,) probability that the network gives its answer.
        right: (N,) whether the answer is right.

    Reference:
        1706.04599, equation 3.
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    surplus = np.bincount(bins, confidence.astype(np.float64) - right, BINS)  # summed over each bin
    return float(np.abs(surplus).sum() / len(confidence))


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
    logs = [_log_choose(count, k) - count * math.log(2) for k in range(fewer + 1)]
    top = max(logs)
    return min(1.0, 2 * math.exp(top) * math.fsum(math.exp(log - top) for log in logs))


def difference(only_first: int, only_second: int, count: int) -> tuple[float, float, float]:
    """The second's top-1 less the first's, and its 95 % interval, points: for two networks on the same images."""
    gain = (only_second - only_first) / count
    variance = (only_first + only_second - (only_second - only_first) ** 2 / count) / count**2
    half = Z95 * math.sqrt(max(variance, 0.0))
    return 100 * gain, 100 * (gain - half), 100 * (gain + half)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

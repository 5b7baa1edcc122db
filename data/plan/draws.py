"""Random numbers as a pure function of (seed, epoch, position), not of earlier draws.

All are raw 64-bit output of Philox, which numpy guarantees never to change (NEP 19). The shuffles and distributions of
numpy's `Generator` may change between releases, so they are not used.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Stream(IntEnum):
    """Independent sources of randomness under one seed."""

    ORDER = 0
    CROP = 1
    AUGMENT = 2
    MIX = 3
    NOISE = 4


def order(seed: int, epoch: int, count: int) -> Ints:
    """(count,) a permutation of all images, the same in every process."""
    return ranked(_philox(seed, epoch, Stream.ORDER).random_raw(count))


def ranked(numbers: NDArray[np.uint64]) -> Ints:
    """(N,) what `np.argsort(numbers, kind="stable")` returns for 64-bit numbers, in a third of its time.

    Sorts the first bits of each number with its index in the last bits. The few rows whose first bits are equal
    are then sorted by all their bits.
    """
    bits = np.uint64(len(numbers).bit_length())
    keys = numbers >> bits
    keys <<= bits
    keys |= np.arange(len(numbers), dtype=np.uint64)
    keys.sort()
    rows = (keys & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
    keys >>= bits
    equal = np.flatnonzero(keys[1:] == keys[:-1])
    places = np.union1d(equal, equal + 1)
    rows[places] = rows[places][np.argsort(numbers[rows[places]], kind="stable")]
    return rows


def uniforms(seed: int, epoch: int, stream: Stream, positions: range, draws: int) -> Floats:
    """(len(positions), draws) uniform in [0, 1), for consecutive positions of an epoch's order.

    Args:
        seed: The run's.
        epoch: Counted from 0.
        stream: Their purpose.
        positions: In the epoch's order.
        draws: Numbers for each position; a multiple of 4, as Philox makes four at a time.
    """
    bits = _philox(seed, epoch, stream)
    bits.advance(positions.start * draws // 4)
    raw = bits.random_raw(len(positions) * draws).reshape(-1, draws)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(count: int) -> NDArray[np.float32]:
    """(count,) numbers with a standard normal distribution, always the same: a longer row begins as a shorter one.

    Reference:
        Box and Muller, A note on the generation of random normal deviates, 1958.
    """
    raw = _philox(0, 0, Stream.NOISE).random_raw(count + count % 2).reshape(-1, 2)
    radius, turn = (((raw >> np.uint64(11)) + 0.5) * 2.0**-53).T  # above 0 and below 1
    radius, angle = np.sqrt(-2 * np.log(radius)), 2 * np.pi * turn
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count].astype(np.float32)


def _philox(seed: int, epoch: int, stream: Stream) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, (stream << 32) + epoch], dtype=np.uint64))

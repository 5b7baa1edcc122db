"""What crosses the border of the data room."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the work this process takes: the `rank`-th of `world_size`, 0 <= rank < world_size."""

    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as they come off the loader, in host memory (pinned where a GPU will read them)."""

    images: Tensor
    """(N, H, W, 3) uint8, RGB."""
    targets: Tensor
    """(N,) int64, index of the class."""
    indices: Tensor
    """(N,) int64, row of the image in the manifest."""
    valid: Tensor
    """(N,) bool, False for rows that only fill the batch up and count nowhere."""


class Loader(Protocol):
    """One process's share of a data set, as a pure function of the epoch and the batch."""

    @property
    def batches_per_epoch(self) -> int:
        """Batches this process gets in one epoch."""
        ...

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_batch` on, the same whatever was drawn before.

        Raises:
            BrokenImageError: A file cannot be read or decoded.
        """
        ...

    def close(self) -> None:
        """Stop the threads and free the memory."""
        ...


class BrokenImageError(RuntimeError):
    """An image file that cannot be read or decoded; the message names it."""

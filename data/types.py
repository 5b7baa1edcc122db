"""What crosses the border of the data room. Loads no torch: processes that only list images need none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

Backend = Literal["threads", "dali", "dali_gpu"]
"""What carries a plan out; the last two need NVIDIA DALI."""
Progress = Callable[[int, int], object]
"""Given what is done, and what there is in all."""
Watch = Callable[[str, str], AbstractContextManager[Progress]]
"""Given what is begun and the unit that it is counted in, and entered for as long as it takes."""


def has_dali() -> bool:
    """Whether NVIDIA DALI is installed."""
    return bool(importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"))


def unwatched(done: int, total: int) -> None:
    """Progress that nobody watches."""
    del done, total


def in_silence(what: str, unit: str) -> AbstractContextManager[Progress]:
    """Watch that shows nothing."""
    del what, unit
    return nullcontext(unwatched)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the work this process takes: the `rank`-th of `world_size`, 0 <= rank < world_size."""

    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class BrokenImage:
    """An image that cannot be used."""

    name: str
    """Its file, and where that is an archive the member."""
    reason: str
    """What reading or decoding said."""

    def __str__(self) -> str:
        """One line for the user."""
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as they come off the loader: in host memory (pinned where a GPU will read them), or decoded on the GPU."""

    images: Tensor
    """(N, H, W, 3) uint8, RGB."""
    targets: Tensor
    """(N,) int64, index of the class."""
    indices: Tensor
    """(N,) int64, row of the image in the manifest."""
    valid: Tensor
    """(N,) bool, False for rows that only fill the batch up, or could not be read, and count nowhere."""
    mixing: Tensor
    """(MIX_DRAWS,) float64, uniform in [0, 1): what mixup and cutmix draw for this batch."""
    broken: tuple[BrokenImage, ...] = ()
    """Images that broke since the manifest was made, replaced in training and not valid in evaluation."""
    refusals: int = 0
    """Times that DALI could not decode the batch and was started again, with substitutes or without this batch."""


class Loader(Protocol):
    """One process's share of a data set, as a pure function of the epoch and the batch."""

    @property
    def batches_per_epoch(self) -> int:
        """Batches this process gets in one epoch."""
        ...

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_batch` on, the same whatever was drawn before.

        Raises:
            TooManyBrokenError: More images broke than the loader was told to bear.
        """
        ...

    def close(self) -> None:
        """Stop the threads and free the memory."""
        ...


class BrokenImageError(ValueError):
    """An image that cannot be read or decoded; the message says why, without its name."""


class TooManyBrokenError(RuntimeError):
    """More images are broken than was said to be bearable; the message names some, and the mend."""

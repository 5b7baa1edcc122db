"""Types that users of this package work with. Loads no torch: processes that only list images need none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from data.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

Backend = Literal["threads", "dali", "dali_gpu"]
"""What carries a plan out; the last two need NVIDIA DALI."""
Progress = Callable[[int, int], object]
"""Called with the number of things done and the number in all."""
Watch = Callable[[str, str], AbstractContextManager[Progress]]
"""Called with the name of a task and the unit that it is counted in; the context lasts as long as the task."""


def has_dali() -> bool:
    """Whether NVIDIA DALI is installed."""
    return bool(importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"))


def unwatched(done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


def in_silence(_task: str, _unit: str) -> AbstractContextManager[Progress]:
    """A `Watch` that shows nothing."""
    return nullcontext(unwatched)


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of the work that this process does: the `rank`-th of `world_size`, counted from 0."""

    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class BrokenImage:
    """An image that cannot be used."""

    name: str
    """Its file, and in an archive its name there."""
    reason: str
    """Why it cannot be read or decoded."""

    def __str__(self) -> str:
        return f"{shown(self.name)}: {shown(self.reason)}"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a loader yields: in host memory (pinned where a GPU will read it), or decoded on the GPU."""

    images: Tensor
    """(N, H, W, 3) uint8, RGB."""
    targets: Tensor
    """(N,) int64, index of the class."""
    indices: Tensor
    """(N,) int64, row of the image in the manifest; -1: black, in place of a broken one in an evaluation."""
    valid: Tensor
    """(N,) bool, False for rows that fill the batch up or could not be read: they are not counted."""
    mixing: Tensor
    """(MIX_DRAWS,) float64, uniform in [0, 1): random numbers for mixup and cutmix."""
    broken: tuple[BrokenImage, ...] = ()
    """Images that broke since the manifest was made: replaced in training, not valid in evaluation."""
    refusals: int = 0
    """How often DALI could not decode the batch and was started again."""
    noise: Tensor | None = None
    """(N, 5) int64, on the host: rectangles that become noise after normalisation, see `data.plan.policies.noise`."""


class Loader(Protocol):
    """One process's share of a data set: its batches are a pure function of the epoch and the batch's number."""

    @property
    def batches_per_epoch(self) -> int: ...

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_batch` on, the same whatever was read before.

        Raises:
            TooManyBrokenError: More images are broken than the loader accepts.
        """
        ...

    def close(self) -> None:
        """Stop the threads and free the memory."""


class BrokenImageError(ValueError):
    """An image that cannot be read or decoded; the message says why, without its name."""


class TooManyBrokenError(RuntimeError):
    """More images are broken than is accepted; the message names some, and the remedy."""

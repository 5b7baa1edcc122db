"""What happens to each image, as a pure function of (seed, epoch, position).

Nothing here remembers what was drawn before, so a run goes on at any position, on any number of processes, with nothing
to restore. All randomness is raw 64-bit output of Philox, whose stream numpy guarantees for ever (NEP 19); the shuffles
and distributions of numpy's `Generator` may change between releases, so they are not used.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import InputConfig
from data.types import Shard

Ints = NDArray[np.int64]

CROP_TRIES = 10  # torchvision's RandomResizedCrop tries as often before it takes the centre
CROP_RATIO = (3 / 4, 4 / 3)  # width : height of a crop (1409.4842, section 6)
DRAWS = 24  # per image: 2 for each try, 2 for the corner, 1 for the flip; a multiple of Philox's 4 a block


class Stream(IntEnum):
    """Independent sources of randomness under one seed."""

    ORDER = 0
    IMAGE = 1


@dataclass(frozen=True, slots=True)
class Samples:
    """What to do with the N images of one batch: cut `windows`, resize to `sizes`, crop at `corners`, flip."""

    indices: Ints
    """(N,) rows of the manifest."""
    windows: Ints
    """(N, 4) top, left, height, width in the stored image, pixels."""
    sizes: Ints
    """(N, 2) height, width that the window is resized to, pixels."""
    corners: Ints
    """(N, 2) top, left of the final square crop in the resized window, pixels."""
    flips: NDArray[np.bool_]
    """(N,) mirror left to right."""
    valid: NDArray[np.bool_]
    """(N,) False for rows that only fill the batch up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainPlan:
    """Shuffled epochs of random resized crops, dealt out as micro-batches.

    Micro-batch `m` of an optimizer step holds the same images at every world size: process `rank` takes every
    `world_size`-th of them. The images past the last whole `global_batch` of an epoch are left out, others in each
    epoch.
    """

    widths: Ints
    heights: Ints
    config: InputConfig
    seed: int
    global_batch: int
    micro_batch: int
    shard: Shard

    @property
    def output_size(self) -> int:
        """Side of the square images that come out, pixels."""
        return self.config.train_size

    @property
    def max_batch(self) -> int:
        """Most images in one batch."""
        return self.micro_batch

    @property
    def batches_per_epoch(self) -> int:
        """Micro-batches of this process in an epoch."""
        return self.steps_per_epoch * self.batches_per_step

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return len(self.widths) // self.global_batch

    @property
    def batches_per_step(self) -> int:
        """Micro-batches of this process in an optimizer step."""
        return self.global_batch // (self.micro_batch * self.shard.world_size)

    def samples(self, epoch: int, first_batch: int) -> Iterator[Samples]:
        """The batches of this process from there on, through all epochs to come."""
        while True:
            shuffled = order(self.seed, epoch, len(self.widths))
            for batch in range(first_batch, self.batches_per_epoch):
                yield self._batch(epoch, batch, shuffled)
            epoch, first_batch = epoch + 1, 0

    def _batch(self, epoch: int, batch: int, shuffled: Ints) -> Samples:
        step, turn = divmod(batch, self.batches_per_step)
        within = (turn * self.shard.world_size + self.shard.rank) * self.micro_batch
        first = step * self.global_batch + within
        indices = shuffled[first : first + self.micro_batch]
        draws = uniforms(self.seed, epoch, first, self.micro_batch)
        size = np.full((len(indices), 2), self.config.train_size)
        return Samples(
            indices=indices,
            windows=crop_windows(draws, self.widths[indices], self.heights[indices], self.config.crop_area),
            sizes=size,
            corners=np.zeros_like(size),
            flips=draws[:, -1] < self.config.flip,
            valid=np.ones(len(indices), bool),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalPlan:
    """Each image once, in the manifest's order, resized and cropped in the centre.

    Process `rank` takes every `world_size`-th batch. All processes get the same number of batches, all of the same
    size: what is missing at the end is filled with rows that are not `valid`.
    """

    widths: Ints
    heights: Ints
    config: InputConfig
    batch: int
    shard: Shard

    @property
    def output_size(self) -> int:
        """Side of the square images that come out, pixels."""
        return self.config.eval_crop

    @property
    def max_batch(self) -> int:
        """Images in each batch."""
        return self.batch

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this process in one pass."""
        return math.ceil(len(self.widths) / (self.batch * self.shard.world_size))

    def samples(self, epoch: int, first_batch: int) -> Iterator[Samples]:
        """The batches of this process from there on, pass after pass; every epoch is the same."""
        del epoch
        while True:
            for batch in range(first_batch, self.batches_per_epoch):
                yield self._batch(batch)
            first_batch = 0

    def _batch(self, batch: int) -> Samples:
        first = (batch * self.shard.world_size + self.shard.rank) * self.batch
        positions = np.arange(first, first + self.batch)
        valid = positions < len(self.widths)
        indices = np.where(valid, positions, 0)
        widths, heights = self.widths[indices], self.heights[indices]
        sizes = eval_sizes(widths, heights, self.config.eval_resize)
        return Samples(
            indices=indices,
            windows=np.stack([np.zeros_like(widths), np.zeros_like(widths), heights, widths], axis=1),
            sizes=sizes,
            corners=np.rint((sizes - self.config.eval_crop) / 2).astype(np.int64),
            flips=np.zeros(self.batch, bool),
            valid=valid,
        )


def order(seed: int, epoch: int, count: int) -> Ints:
    """(count,) a permutation of all images, the same on every process."""
    return np.argsort(_philox(seed, epoch, Stream.ORDER).random_raw(count), kind="stable")


def uniforms(seed: int, epoch: int, first: int, count: int) -> NDArray[np.float64]:
    """(count, DRAWS) uniform in [0, 1) for the positions `first` to `first + count` of an epoch's order."""
    bits = _philox(seed, epoch, Stream.IMAGE)
    bits.advance(first * DRAWS // 4)  # Philox gives four numbers for each count
    raw = bits.random_raw(count * DRAWS).reshape(count, DRAWS)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def crop_windows(draws: NDArray[np.float64], widths: Ints, heights: Ints, area: tuple[float, float]) -> Ints:
    """Random resized crops with torchvision's distribution.

    Args:
        draws: (N, DRAWS) uniform in [0, 1).
        widths: (N,) pixels.
        heights: (N,) pixels.
        area: Least and greatest share of the image's area.

    Returns:
        (N, 4) top, left, height, width, inside the image.

    Reference:
        torchvision.transforms.RandomResizedCrop.get_params.
    """
    share = area[0] + (area[1] - area[0]) * draws[:, 0 : 2 * CROP_TRIES : 2]
    low, high = np.log(CROP_RATIO)
    ratio = np.exp(low + (high - low) * draws[:, 1 : 2 * CROP_TRIES : 2])
    pixels = share * (widths * heights)[:, None]
    crop_w, crop_h = np.rint(np.sqrt(pixels * ratio)), np.rint(np.sqrt(pixels / ratio))  # (N, tries)
    fits = (crop_w > 0) & (crop_w <= widths[:, None]) & (crop_h > 0) & (crop_h <= heights[:, None])
    first = np.argmax(fits, axis=1)
    rows, fit = np.arange(len(widths)), fits.any(axis=1)
    centre_w, centre_h = _largest_centre(widths, heights)
    w = np.where(fit, crop_w[rows, first], centre_w)
    h = np.where(fit, crop_h[rows, first], centre_h)
    corner = draws[:, 2 * CROP_TRIES : 2 * CROP_TRIES + 2]
    top = np.where(fit, np.floor(corner[:, 0] * (heights - h + 1)), (heights - h) // 2)
    left = np.where(fit, np.floor(corner[:, 1] * (widths - w + 1)), (widths - w) // 2)
    return np.stack([top, left, h, w], axis=1).astype(np.int64)


def eval_sizes(widths: Ints, heights: Ints, shorter: int) -> Ints:
    """(N, 2) height, width with the shorter side at `shorter` and the longer cut to whole pixels.

    Reference:
        torchvision.transforms.functional._compute_resized_output_size.
    """
    short, long = np.minimum(widths, heights), np.maximum(widths, heights)
    longer = (shorter * long / short).astype(np.int64)
    upright = heights > widths
    return np.stack([np.where(upright, longer, shorter), np.where(upright, shorter, longer)], axis=1)


def _largest_centre(widths: Ints, heights: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
    ratio = widths / heights
    w = np.where(ratio > CROP_RATIO[1], np.rint(heights * CROP_RATIO[1]), widths)
    h = np.where(ratio < CROP_RATIO[0], np.rint(widths / CROP_RATIO[0]), heights)
    return w, h


def _philox(seed: int, epoch: int, stream: Stream) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, (stream << 32) + epoch], dtype=np.uint64))

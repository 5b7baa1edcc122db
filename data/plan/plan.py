"""The plan of training: what happens to each image, as a pure function of (seed, epoch, position).

There is no state: a run continues at any position, on any number of processes, with nothing to restore.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from data.catalog.manifest import Manifest
from data.plan import crops, policies
from data.plan.config import InputConfig
from data.plan.draws import Floats, Ints, Stream, order, uniforms
from data.plan.samples import GEOMETRY, MIX_DRAWS, Samples
from data.types import Shard

CUBIC_SHARE = {"bilinear": 0.0, "random": 0.5, "bicubic": 1.0}
EARLY = 256  # batches before the end of an epoch: half a second or more, in which ten million images are shuffled
GROWTH = 32  # pixels by which the training size grows at a time: the stride of most networks


def training_sizes(config: InputConfig) -> int:
    """Number of sizes that the training images of a run can have, see `TrainPlan.side_at`."""
    return 1 + math.ceil((config.train_size - (config.start_size or config.train_size)) / GROWTH)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainPlan:
    """Shuffled epochs of random crops, divided into micro-batches.

    Micro-batch `m` of an optimizer step holds the same images at every world size: process `rank` takes every
    `world_size`-th of them. The images after the last complete `global_batch` of an epoch are left out (other images in
    each epoch), or with `drop_last=False` spread over the micro-batches of one more step, which are filled up with
    repetitions that are not `valid`.
    """

    manifest: Manifest
    config: InputConfig
    seed: int
    global_batch: int
    micro_batch: int
    shard: Shard

    @property
    def fill(self) -> tuple[int, int, int]:
        """The mean colour, which the network sees as 0."""
        red, green, blue = (round(255 * mean) for mean in self.config.mean)
        return red, green, blue

    @property
    def padded(self) -> bool:
        """Whether windows may lie partly outside their images."""
        return self.config.crop == "padded"

    @property
    def max_batch(self) -> int:
        return self.micro_batch

    @property
    def batches_per_epoch(self) -> int:
        return self.steps_per_epoch * self.batches_per_step

    @property
    def steps_per_epoch(self) -> int:
        whole, rest = divmod(len(self.manifest), self.global_batch)
        return whole + (rest > 0 and not self.config.drop_last)

    @property
    def batches_per_step(self) -> int:
        """Micro-batches of this process in an optimizer step."""
        return self.global_batch // (self.micro_batch * self.shard.world_size)

    def images_in(self, step: int) -> int:
        """Valid images in an optimizer step, over all processes; steps are counted from the run's first."""
        return min(self.global_batch, len(self.manifest) - step % self.steps_per_epoch * self.global_batch)

    def images_seen(self, steps: int) -> int:
        """Valid images in the first optimizer steps."""
        epochs, rest = divmod(steps, self.steps_per_epoch)
        whole = min(len(self.manifest), self.steps_per_epoch * self.global_batch)
        return epochs * whole + rest * self.global_batch

    def samples(self, epoch: int, first_batch: int) -> Iterator[Samples]:
        """The batches of this process from there on, without end; near its end a thread shuffles the next epoch."""
        shuffled, last = order(self.seed, epoch, len(self.manifest)), self.batches_per_epoch
        while True:
            shuffling, early = None, max(first_batch, last - EARLY)
            for batch in range(first_batch, last):
                if batch == early:  # not before: until it is needed, a shuffled epoch only takes memory
                    pool = ThreadPoolExecutor(1)
                    shuffling = pool.submit(order, self.seed, epoch + 1, len(self.manifest))
                    pool.shutdown(wait=False)  # so the thread ends by itself, also where nobody asks for the rest
                yield self._batch(epoch, batch, shuffled)
            epoch, first_batch = epoch + 1, 0
            shuffled = shuffling.result() if shuffling else order(self.seed, epoch, len(self.manifest))

    def replaced(self, samples: Samples, row: int, index: int) -> Samples:
        """The same batch with another image in a row, cropped by the same draws."""
        indices = samples.indices.copy()
        indices[row] = index
        changed = {name: getattr(samples, name).copy() for name in GEOMETRY}
        others = self._geometry(samples.draws[row : row + 1], indices[row : row + 1], samples.side)
        for column, values in zip(changed.values(), others, strict=True):
            column[row] = values[0]
        return replace(samples, indices=indices, **changed)

    def _batch(self, epoch: int, batch: int, shuffled: Ints) -> Samples:
        step, turn = divmod(batch, self.batches_per_step)
        span = self._span(step, turn * self.shard.world_size + self.shard.rank)
        rows = np.arange(self.micro_batch)
        # a short span is filled up with its own images, an empty one with the neighbour's
        positions = np.minimum(span.start + rows % max(len(span), 1), len(shuffled) - 1)
        indices = shuffled[positions // self.config.augment.repeats]
        draws = uniforms(self.seed, epoch, Stream.CROP, _run(span, self.micro_batch), crops.DRAWS)
        augment = uniforms(self.seed, epoch, Stream.AUGMENT, _run(span, self.micro_batch), policies.DRAWS)
        side, cubic_share = self.side_at(epoch, step), CUBIC_SHARE[self.config.interpolation]
        windows, sizes, corners, shifts = self._geometry(draws, indices, side)
        return Samples(
            indices=indices,
            windows=windows,
            sizes=sizes,
            corners=corners,
            shifts=shifts,
            side=side,
            cubic=draws[:, crops.CUBIC] < cubic_share,
            flips=draws[:, -1] < self.config.flip,
            valid=rows < len(span),
            draws=draws,
            choices=policies.choices(self.config.augment, augment, side, cubic_share),
            noise=policies.noise(self.config.augment, augment, side),
            mixing=uniforms(self.seed, epoch, Stream.MIX, _run(span, 1), MIX_DRAWS)[0],
        )

    def _span(self, step: int, micro: int) -> range:
        """Positions of a micro-batch in the epoch's order."""
        first, images = step * self.global_batch, self.images_in(step)
        micros = self.global_batch // self.micro_batch
        return range(first + images * micro // micros, first + images * (micro + 1) // micros)

    def side_at(self, epoch: int, step: int) -> int:
        """Side of the training images in a step of an epoch, pixels."""
        start, end = self.config.start_size or self.config.train_size, self.config.train_size
        begin, full = self.config.growth_epochs
        now = epoch + step / self.steps_per_epoch
        if now >= full:
            return end
        share = max(0.0, (now - begin) / (full - begin))
        return start + int((end - start) * share / GROWTH) * GROWTH

    def _geometry(self, draws: Floats, indices: Ints, side: int) -> tuple[Ints, Ints, Ints, Ints]:
        """The columns `GEOMETRY`."""
        widths, heights = self.manifest.widths[indices], self.manifest.heights[indices]
        none, padding = np.zeros((len(indices), 2), np.int64), self.config.crop_padding
        match self.config.crop:
            case "simple":
                sizes = crops.eval_sizes(widths, heights, side)
                return np.column_stack([none, heights, widths]), sizes, *crops.simple(draws, sizes, padding, side)
            case "padded":
                windows = crops.padded(draws, widths, heights, padding, side)
            case "resized":
                windows = crops.resized(draws, widths, heights, self.config.crop_area)
        return windows, none + side, none, none


def _run(span: range, count: int) -> range:
    return range(span.start, span.start + count)

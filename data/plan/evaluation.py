"""The plan of an evaluation: each image once, in the manifest's order; and the type of all plans."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.catalog.manifest import Manifest
from data.plan import crops
from data.plan.config import EvalViews
from data.plan.draws import Ints
from data.plan.plan import TrainPlan
from data.plan.samples import MIX_DRAWS, Samples
from data.types import Shard


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalPlan:
    """Each image once, resized and cut as `views` says; the views of an image are consecutive rows.

    Process `rank` takes every `world_size`-th batch. All processes get the same number of batches of the same size: the
    last ones are filled up with rows that are not `valid`.
    """

    manifest: Manifest
    views: EvalViews
    batch: int
    """Images; with five views each, five times as many rows."""
    shard: Shard

    @property
    def fill(self) -> tuple[int, int, int]:
        return 0, 0, 0  # nothing is erased

    @property
    def padded(self) -> bool:
        return False

    @property
    def max_batch(self) -> int:
        return self.batch * self.views.count

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.manifest) / (self.batch * self.shard.world_size))

    def samples(self, epoch: int, first_batch: int) -> Iterator[Samples]:
        """The batches of this process from `first_batch` on, without end; all epochs are the same."""
        del epoch
        while True:
            for batch in range(first_batch, self.batches_per_epoch):
                first = (batch * self.shard.world_size + self.shard.rank) * self.batch
                positions = np.arange(first, first + self.batch)
                valid = positions < len(self.manifest)
                indices, views = np.where(valid, positions, 0), self.views.count
                yield self._samples(np.repeat(indices, views), np.repeat(valid, views))
            first_batch = 0

    def replaced(self, samples: Samples, row: int, index: int) -> Samples:
        """The same batch with another image, or -1 for a black one, in the rows of one, which are then not valid."""
        indices, valid = samples.indices.copy(), samples.valid.copy()
        views = self.views.count
        rows = slice(row // views * views, (row // views + 1) * views)
        indices[rows], valid[rows] = index, False
        return self._samples(indices, valid)

    def _samples(self, indices: Ints, valid: NDArray[np.bool_]) -> Samples:
        widths, heights = self.manifest.widths[indices], self.manifest.heights[indices]
        sizes = self._sizes(widths, heights)
        return Samples(
            indices=indices,
            windows=np.stack([np.zeros_like(widths), np.zeros_like(widths), heights, widths], axis=1),
            sizes=sizes,
            corners=self._corners(sizes),
            shifts=np.zeros_like(sizes),
            side=self.views.side,
            cubic=np.full(len(indices), self.views.interpolation == "bicubic"),
            flips=np.zeros(len(indices), bool),
            valid=valid,
            draws=np.zeros((len(indices), crops.DRAWS)),
            choices=None,
            noise=None,
            mixing=np.zeros(MIX_DRAWS),
            exact=True,
        )

    def _sizes(self, widths: Ints, heights: Ints) -> Ints:
        if self.views.resize is None:
            return np.full((len(widths), 2), self.views.side)
        return crops.eval_sizes(widths, heights, self.views.resize)

    def _corners(self, sizes: Ints) -> Ints:
        if not self.views.five:
            return crops.centre(sizes, self.views.side)
        every = crops.five(sizes[:: self.views.count], self.views.side)  # rows of one image have one size
        return every.reshape(-1, 2)


Plan = TrainPlan | EvalPlan
"""What a loader carries out."""

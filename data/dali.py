"""NVIDIA DALI carries the plan out: reads, decodes the window alone, resizes, crops, flips, on its own threads."""

import os
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from nvidia.dali import fn as operators
from nvidia.dali import types as constants
from nvidia.dali.pipeline import Pipeline
from PIL import Image

from data.manifest import Manifest
from data.plan import Samples
from data.types import Batch, BrokenImageError

fn: Any = operators  # DALI makes both from its native library: its stubs do not know all their names
types: Any = constants

QUEUE = 2  # batches decoded ahead; more changes little (measured) and costs memory


class Plan(Protocol):
    """What a loader carries out: `data.plan.TrainPlan` or `data.plan.EvalPlan`."""

    @property
    def output_size(self) -> int:
        """Side of the images, pixels."""
        ...

    @property
    def max_batch(self) -> int:
        """Most images in a batch."""
        ...

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this process in an epoch."""
        ...

    def samples(self, epoch: int, first_batch: int) -> Iterator[Samples]:
        """The batches from there on, without end."""
        ...


class DaliLoader:
    """A `data.types.Loader` over one DALI pipeline on the CPU.

    The pipeline runs ahead across the ends of epochs, so that no epoch starts with a wait. It is built anew only when
    asked for another batch than the next.
    """

    def __init__(self, manifest: Manifest, plan: Plan, *, threads: int, pinned: bool) -> None:
        """Prepare; decoding starts with the first batch asked for.

        Args:
            manifest: Images of the split.
            plan: What to do with them.
            threads: Decoding threads.
            pinned: Give batches in page-locked memory, for a GPU to copy from.
        """
        self._manifest, self._plan = manifest, plan
        self._threads, self._pinned = threads, pinned
        self._pipeline: Pipeline | None = None
        self._ahead: deque[Samples] = deque()  # given to the pipeline, not yet come out
        self._next = (-1, -1)

    @property
    def batches_per_epoch(self) -> int:
        """Batches this process gets in one epoch."""
        return self._plan.batches_per_epoch

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_batch` on; see `data.types.Loader`."""
        if self._next != (epoch, first_batch):
            self._start(epoch, first_batch)
        for batch in range(first_batch, self.batches_per_epoch):
            ready = self._pull()
            last = batch + 1 == self.batches_per_epoch
            self._next = (epoch + 1, 0) if last else (epoch, batch + 1)
            yield ready

    def close(self) -> None:
        """Stop the threads and free the memory."""
        self._pipeline = None
        self._ahead.clear()
        self._next = (-1, -1)

    def _start(self, epoch: int, first_batch: int) -> None:
        self.close()
        samples = self._plan.samples(epoch, first_batch)
        self._pipeline = _pipeline(self._feed(samples), self._plan, self._threads)
        self._pipeline.build()

    def _feed(self, samples: Iterator[Samples]) -> Iterator[tuple[Any, ...]]:
        for batch in samples:
            self._ahead.append(batch)
            names = [np.frombuffer(os.fsencode(self._manifest.path(i)), np.uint8) for i in batch.indices]
            parts = (batch.windows[:, :2], batch.windows[:, 2:], batch.corners, batch.flips)
            yield names, batch.sizes.astype(np.float32), *(np.ascontiguousarray(part, np.int32) for part in parts)

    def _pull(self) -> Batch:
        assert self._pipeline is not None
        try:
            (images,) = self._pipeline.run()
        except RuntimeError as error:
            raise (self._broken() or error) from error
        samples = self._ahead.popleft()
        return Batch(
            images=self._own(images.as_tensor()),
            targets=torch.from_numpy(self._manifest.targets[samples.indices]),
            indices=torch.from_numpy(samples.indices),
            valid=torch.from_numpy(samples.valid),
        )

    def _own(self, images: Any) -> torch.Tensor:
        """A copy: DALI writes the next batch into the same memory."""
        theirs = torch.from_numpy(np.asarray(images))
        return torch.empty(theirs.shape, dtype=theirs.dtype, pin_memory=self._pinned).copy_(theirs)

    def _broken(self) -> BrokenImageError | None:
        """DALI fails the whole batch and does not always name the file, so look for it."""
        for index in (index for samples in self._ahead for index in samples.indices):
            path = self._manifest.path(int(index))
            try:
                with Image.open(path) as image:
                    image.convert("RGB")
            except (OSError, ValueError, SyntaxError) as reason:
                return BrokenImageError(f"{path}: {reason}; repair or remove it, then start the run again")
        return None


def _pipeline(source: Iterator[tuple[Any, ...]], plan: Plan, threads: int) -> Pipeline:
    pipeline = Pipeline(plan.max_batch, threads, None, prefetch_queue_depth=QUEUE)
    with pipeline:
        names, size, corner, shape, crop, flip = fn.external_source(
            source=source,
            num_outputs=6,
            batch=True,
            ndim=[1, 1, 1, 1, 1, 0],
            dtype=[types.UINT8, types.FLOAT, *[types.INT32] * 4],
        )
        # DALI would turn images by their EXIF orientation, which neither Pillow nor torchvision does; the windows are
        # measured on the stored image
        images = fn.decoders.image_slice(
            fn.io.file.read(names), start=corner, shape=shape, axes=[0, 1], adjust_orientation=False
        )
        images = fn.resize(images, size=size, interp_type=types.INTERP_LINEAR, antialias=True)
        images = fn.slice(images, start=crop, shape=[plan.output_size] * 2, axes=[0, 1])
        pipeline.set_outputs(fn.flip(images, horizontal=flip))
    return pipeline

"""Carries out the plan with NVIDIA DALI, which decodes, resizes and flips on its own threads or on the GPU."""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import simplejpeg
import torch
from nvidia.dali.pipeline import Pipeline
from torch import Tensor

from data.catalog.manifest import Bytes
from data.load.dali_pipeline import insert, number, own, pipeline, refusal
from data.load.image_file import Images
from data.load.regions import at_border, regions
from data.load.rendering import BLACK, Resized, batch_of, finish, render, substituted
from data.load.threads import compute_alone, parts
from data.plan.evaluation import Plan
from data.plan.samples import Samples, patched
from data.types import Batch, BrokenImage, BrokenImageError

_log = logging.getLogger(__name__)

BLANK_SIDE = 8
BLANK = np.frombuffer(simplejpeg.encode_jpeg(np.zeros((BLANK_SIDE, BLANK_SIDE, 3), np.uint8)), np.uint8)


@dataclass(frozen=True, slots=True)
class _Work:
    """A batch to be decoded."""

    samples: Samples
    broken: tuple[BrokenImage, ...] = ()
    """Images that were replaced in it."""
    by_pillow: bool = False
    """Decode it by Pillow, as DALI refuses an image of it that Pillow decodes."""
    refusals: int = 0
    """Times that DALI could not decode it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One image that was read."""

    samples: Samples
    """With a substitute for the image, where it is broken."""
    broken: list[BrokenImage]
    encoded: Bytes
    """For DALI; `BLANK` where Pillow has decoded the image."""
    ready: Tensor | None = None
    """(side, side, 3) uint8, decoded by Pillow."""


@dataclass(frozen=True, slots=True)
class _Fed:
    """A batch that the pipeline works on."""

    work: _Work
    samples: Samples
    rows: list[_Row]


class DaliStream:
    """Batches in the order of their samples, through one DALI pipeline.

    Files are read here, and DALI gets their bytes: so trees, archives, and images that DALI decodes differently from
    Pillow are treated alike, and a file that cannot be read is replaced before. An image that DALI cannot decode fails
    its whole batch; the pipeline is then built again and starts with that batch, in which a substitute replaces it.
    """

    def __init__(
        self,
        images: Images,
        plan: Plan,
        samples: Iterator[Samples],
        *,
        threads: int,
        device: torch.device,
        pinned: bool,
    ) -> None:
        """Build the pipeline.

        Args:
            images: The images to read.
            plan: Replaces broken images.
            samples: An endless sequence.
            threads: Of the decoder.
            device: The CPU, or the GPU that decodes and holds the batches.
            pinned: Return batches of the CPU in page-locked memory.
        """
        self._images, self._plan, self._threads = images, plan, threads
        self._gpu, self._pinned = number(device), pinned
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="files", initializer=compute_alone)
        self._reading = deque[tuple[_Work, list[Future[list[_Row]]]]]()
        self._fed = deque[_Fed]()  # to the pipeline, which has not returned it yet
        self._finishing = deque[tuple[Batch, list[Future[None]]]]()
        self._pipeline: Pipeline | None = None
        self._work: Iterator[_Work] = map(_Work, samples)
        self._start()

    def pull(self) -> Batch:
        """The next batch.

        Raises:
            BrokenImageError: An image is broken, and so is every possible substitute.
        """
        while len(self._finishing) < 2:
            output = self._output()
            self._finishing.append(self._finish(self._fed.popleft(), output))
        batch, rest = self._finishing.popleft()
        for part in rest:
            part.result()
        return batch

    def close(self) -> None:
        """End the threads and free the memory."""
        self._finishing.clear()
        self._pipeline = None
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reading.clear()
        self._fed.clear()
        self._images.close()

    def _output(self) -> Any:
        stream = None if self._gpu is None else torch.cuda.current_stream(self._gpu)
        while True:
            assert self._pipeline is not None
            try:
                (images,) = self._pipeline.run(stream)  # on the GPU in the stream's order, without waiting
            except RuntimeError as error:
                message = refusal(error)
                if not message or not self._fed or not self._repair(message):
                    raise
            else:
                return images

    def _start(self) -> None:
        self._pipeline = None  # its threads end before others begin
        plan = self._plan
        self._pipeline = pipeline(self._feed, plan.max_batch, self._threads, gpu=self._gpu, padded=plan.padded)

    def _feed(self) -> tuple[Any, ...]:
        """Called by DALI for a batch, while the next one is being read."""
        while len(self._reading) < 2:
            work = next(self._work)
            shares = parts(len(work.samples.indices), self._threads)
            self._reading.append((work, [self._pool.submit(self._read, work, share) for share in shares]))
        work, reads = self._reading.popleft()
        rows = [row for future in reads for row in future.result()]
        samples = patched(work.samples, {row: read.samples for row, read in enumerate(rows) if read.broken})
        self._fed.append(_Fed(work, samples, rows))
        manifest, indices = self._images.manifest, samples.indices
        columns = regions(samples, manifest.widths[indices], manifest.heights[indices])
        columns.blank([row for row, read in enumerate(rows) if read.ready is not None], BLANK_SIDE)
        side, cubic = np.full(len(rows), samples.side, np.float32), samples.cubic.astype(np.int32)
        return [read.encoded for read in rows], *columns.columns(padded=self._plan.padded), side, cubic

    def _read(self, work: _Work, share: slice) -> list[_Row]:
        last = Resized()
        return [self._sound_row(work, row, last) for row in range(share.start, share.stop)]

    def _sound_row(self, work: _Work, row: int, last: Resized) -> _Row:
        try:
            return self._row(work, work.samples, row, [], last)
        except BrokenImageError:
            samples, broken = substituted(self._images, self._plan, work.samples, row)
            return self._row(work, samples, row, broken, last)

    def _row(self, work: _Work, samples: Samples, row: int, broken: list[BrokenImage], last: Resized) -> _Row:
        index = int(samples.indices[row])
        if index != BLACK and self._images.plain(index) and not work.by_pillow and not _only_pillow(samples, row):
            encoded = self._images.encoded(index)
            if self._images.parses(encoded, index):
                return _Row(samples, broken, encoded)
        ready = torch.empty((samples.side, samples.side, 3), dtype=torch.uint8)
        render(self._images, samples, row, ready, last)
        return _Row(samples, broken, BLANK, ready)

    def _repair(self, message: str) -> bool:
        """Start again with the batches in flight, with substitutes in the first one that has broken images.

        Returns False where no image is the cause of DALI's message, and nothing can be repaired.
        """
        work = [fed.work for fed in self._fed] + [work for work, _ in self._reading]
        self._fed.clear()
        self._reading.clear()
        for position in range(len(work)):
            repaired = self._substituted(work[position])
            if repaired.broken != work[position].broken:
                remedy = "its broken images are replaced"
                break
        else:
            if work[0].by_pillow:
                return False
            position, repaired, remedy = 0, replace(work[0], by_pillow=True), "Pillow decodes it"
        _log.warning("DALI could not decode a batch (%s): %s, and DALI starts again", message, remedy)
        work[position] = replace(repaired, refusals=repaired.refusals + 1)
        self._work = chain(work, self._work)
        self._start()
        return True

    def _substituted(self, work: _Work) -> _Work:
        rows, broken = dict[int, Samples](), list(work.broken)
        for row in range(len(work.samples.indices)):
            samples, replaced = substituted(self._images, self._plan, work.samples, row)
            if replaced:
                rows[row] = samples
                broken += replaced
        return replace(work, samples=patched(work.samples, rows), broken=tuple(broken))

    def _finish(self, fed: _Fed, output: Any) -> tuple[Batch, list[Future[None]]]:
        """A batch, and what is left to do, which is under way."""
        samples = fed.samples
        images = own(output, on_gpu=self._gpu is not None, pinned=self._pinned)
        insert(images, {row: read.ready for row, read in enumerate(fed.rows) if read.ready is not None})
        broken = chain(fed.work.broken, *(read.broken for read in fed.rows))
        batch = batch_of(images, samples, self._images.manifest, broken)
        return replace(batch, refusals=fed.work.refusals), self._finished(images, samples)

    def _finished(self, images: Tensor, samples: Samples) -> list[Future[None]]:
        if images.is_cuda:
            finish(images, samples, slice(None), self._plan.fill)
            return []
        return [
            self._pool.submit(finish, images[part], samples, part, self._plan.fill)
            for part in parts(len(images), self._threads)
        ]


def _only_pillow(samples: Samples, row: int) -> bool:
    """Whether DALI's pixels would differ where every one must be right."""
    return samples.exact and (samples.cubic[row] or at_border(samples, row))

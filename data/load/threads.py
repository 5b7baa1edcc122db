"""Carries out the plan with Python threads that fill rows of a batch; decoding and resizing release the GIL."""

import ctypes
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.load.rendering import Resized, batch_of, finish, render, substituted
from data.plan.evaluation import Plan
from data.plan.samples import Samples, patched
from data.types import Batch, BrokenImage, BrokenImageError

QUEUE = 2  # batches rendered ahead
TASKS = 4  # in a batch for each thread: few, as each costs time, but enough that threads finish together

Done = tuple[slice, Samples, list[BrokenImage]]


class ThreadStream:
    """Batches in the order of their samples, rendered ahead by a pool of threads."""

    def __init__(self, images: Images, plan: Plan, samples: Iterator[Samples], threads: int, *, pinned: bool) -> None:
        """Start rendering.

        Args:
            images: The images to read.
            plan: Replaces broken images.
            samples: An endless sequence.
            threads: Of the pool.
            pinned: Return batches in page-locked memory, for a GPU to copy from.
        """
        self._images, self._plan, self._pinned = images, plan, pinned
        self._samples, self._threads = samples, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="images", initializer=compute_alone)
        self._next = self._pool.submit(next, samples)
        self._ahead = deque[_Rendering]()

    def pull(self) -> Batch:
        """The next batch.

        Raises:
            BrokenImageError: An image is broken, and so is every possible substitute.
        """
        while len(self._ahead) <= QUEUE:
            self._ahead.append(self._begin())
        return self._ahead.popleft().batch(self._images.manifest)

    def close(self) -> None:
        """End the threads, after the rows that were begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()
        self._images.close()

    def _begin(self) -> "_Rendering":
        samples = self._next.result()
        # by the pool too: to shuffle a million images takes a tenth of a second
        self._next = self._pool.submit(next, self._samples)
        count, side = len(samples.indices), samples.side
        out = torch.empty((count, side, side, 3), dtype=torch.uint8, pin_memory=self._pinned)
        tasks = [self._pool.submit(self._render, samples, part, out) for part in parts(count, self._threads)]
        return _Rendering(samples, out, tasks)

    def _render(self, samples: Samples, part: slice, out: Tensor) -> Done:
        broken, last = list[BrokenImage](), Resized()
        for row in range(part.start, part.stop):
            try:
                render(self._images, samples, row, out[row], last)
            except BrokenImageError:
                samples, replaced = substituted(self._images, self._plan, samples, row)
                render(self._images, samples, row, out[row], last)
                broken += replaced
        finish(out[part], samples, part, self._plan.fill)
        return part, samples, broken


@dataclass(frozen=True, slots=True)
class _Rendering:
    """A batch that is being rendered."""

    samples: Samples
    out: Tensor
    tasks: list[Future[Done]]

    def batch(self, manifest: Manifest) -> Batch:
        done = [future.result() for future in self.tasks]
        others = {row: samples for part, samples, broken in done if broken for row in range(part.start, part.stop)}
        broken = (image for _, _, images in done for image in images)
        return batch_of(self.out, patched(self.samples, others), manifest, broken)


def parts(count: int, threads: int) -> list[slice]:
    """The rows of a batch, divided for a pool of threads."""
    step = max(1, count // (TASKS * threads))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def compute_alone() -> None:
    """Run PyTorch's operations in this thread: a pool of PyTorch's for each thread here would be too many threads.

    `torch.set_num_threads` would also change the threads of the model, and with them its results; OpenMP's setting is
    that of the calling thread only.
    """
    torch.get_num_threads()  # PyTorch sets the thread up once, with its own default
    setting = getattr(ctypes.CDLL(None), "omp_set_num_threads", None)
    if setting:
        setting(1)

"""Plain threads carry the plan out, each filling its rows of a batch in place; what is heavy leaves Python's lock."""

import ctypes
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.load.rendering import Resized, batch_of, render, substituted
from data.plan.samples import Plan, Samples, patched
from data.types import Batch, BrokenImage, BrokenImageError

QUEUE = 2  # batches rendered ahead
TASKS = 4  # for each thread in a batch: few enough to cost little, enough that no thread waits long for the last

Done = tuple[slice, Samples, list[BrokenImage]]


class ThreadStream:
    """Batches in the order of their samples, rendered ahead by a pool of threads."""

    def __init__(self, images: Images, plan: Plan, samples: Iterator[Samples], threads: int, *, pinned: bool) -> None:
        """Start rendering.

        Args:
            images: Where to read from.
            plan: What replaces broken images.
            samples: What to do, without end.
            threads: Of the pool.
            pinned: Give batches in page-locked memory, for a GPU to copy from.
        """
        self._images, self._plan, self._pinned = images, plan, pinned
        self._samples, self._threads = samples, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="images", initializer=compute_alone)
        self._coming = self._pool.submit(next, samples)
        self._ahead = deque[_Rendering]()

    def pull(self) -> Batch:
        """The next batch.

        Raises:
            BrokenImageError: An image is broken, and so is everything that could take its place.
        """
        while len(self._ahead) <= QUEUE:
            self._ahead.append(self._begin())
        return self._ahead.popleft().batch(self._images.manifest)

    def close(self) -> None:
        """End the threads; the rows in hand are finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()
        self._images.close()

    def _begin(self) -> "_Rendering":
        samples = self._coming.result()
        # drawn by the pool too: the order of an epoch of a million images takes a tenth of a second
        self._coming = self._pool.submit(next, self._samples)
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
                samples, found = substituted(self._images, self._plan, samples, row)
                render(self._images, samples, row, out[row], last)
                broken += found
        if samples.choices:
            from data.load import augment  # loads torchvision, which a run without augmentations does without

            augment.apply(out[part], samples.choices.rows(part), self._plan.fill)
        return part, samples, broken


@dataclass(frozen=True, slots=True)
class _Rendering:
    """A batch in the making."""

    samples: Samples
    out: Tensor
    tasks: list[Future[Done]]

    def batch(self, manifest: Manifest) -> Batch:
        """Wait for it."""
        done = [future.result() for future in self.tasks]
        others = {row: samples for part, samples, found in done if found for row in range(part.start, part.stop)}
        broken = (image for _, _, found in done for image in found)
        return batch_of(self.out, patched(self.samples, others), manifest, broken)


def parts(count: int, threads: int) -> list[slice]:
    """The rows of a batch in shares for a pool of threads."""
    step = max(1, count // (TASKS * threads))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def compute_alone() -> None:
    """Keep PyTorch's operations in this thread: its own pool of threads for each of ours would crowd the cores.

    `torch.set_num_threads` would also change the threads of the model, and with them its results; OpenMP's own setting
    holds for the calling thread alone.
    """
    torch.get_num_threads()  # sets the thread up, once, as it likes
    setting = getattr(ctypes.CDLL(None), "omp_set_num_threads", None)
    if setting:
        setting(1)

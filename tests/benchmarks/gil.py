"""How far the GIL lets plain threads scale, and what they cost a thread that launches kernels.

Reading, the plan and all Python code are the loader's own. Decoding and resizing are replaced by waits without the GIL,
so that a machine with few cores shows many threads.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from data.load import image_file
from tests.benchmarks import our_loaders
from tests.benchmarks.loaders_config import BenchTask

THREADS = (1, 2, 4, 8, 16)
WAIT_S = 2.5e-4  # of each kernel: less than a real one, so that 16 threads reach the limit
LARGEST = 1 << 14  # pixels a side of an image


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """So many threads."""

    threads: int
    images_per_s: float
    cpu_ms: float
    """CPU time an image of the whole process, ms: the Python code, reading, and the copy into the batch."""
    alone_us: float
    """A launch, which here is an addition of eight numbers, in a thread that does nothing else, microseconds."""
    beside_us: float
    """The same beside the threads at their highest rate."""


def measure(task: BenchTask, seconds: float, progress: Callable[[int, int], object]) -> list[Row]:
    """A row for each number of threads."""
    torch.set_num_threads(1)
    rows = list[Row]()
    with _waiting(task.size):
        for threads in THREADS:
            rows.append(_row(replace(task, contender="threads", threads=threads), seconds))
            progress(len(rows), len(THREADS))
    return rows


def _row(task: BenchTask, seconds: float) -> Row:
    alone = _launch_us(seconds)
    with closing(our_loaders.batches(task)) as batches:
        next(batches)
        start, used, images = time.monotonic(), time.process_time(), 0
        while time.monotonic() < start + seconds:
            images += len(next(batches))
        wall, cpu = time.monotonic() - start, time.process_time() - used
        with _consumed(batches):
            beside = _launch_us(seconds)
    rate, cost = images / wall, 1e3 * cpu / images
    return Row(threads=task.threads, images_per_s=rate, cpu_ms=cost, alone_us=alone, beside_us=beside)


def _launch_us(seconds: float) -> float:
    numbers, start, count = torch.zeros(8), time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        for _ in range(100):
            torch.add(numbers, 1, out=numbers)
        count += 100
    return 1e6 * (time.perf_counter() - start) / count


@contextmanager
def _consumed(batches: Iterator[Tensor]) -> Iterator[None]:
    """Another thread takes the batches as fast as they come."""
    ended = Event()

    def take() -> None:
        while not ended.is_set():
            next(batches)

    thread = Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _waiting(size: int) -> Iterator[None]:
    """Replace the kernels."""
    pixels = np.empty((LARGEST, LARGEST, 3), np.uint8)  # never touched, so it takes no memory
    planes = torch.zeros(1, 3, size, size, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)

    def decode(_encoded: Any, width: int, height: int, **_plain: bool) -> Any:
        time.sleep(WAIT_S)
        return pixels[:height, :width]

    def resize(*_: Any) -> Tensor:
        time.sleep(WAIT_S)
        return planes

    with ExitStack() as patches:
        patches.enter_context(patch.object(image_file, "_decoded", decode))
        patches.enter_context(patch("torch._C._nn._upsample_bilinear2d_aa", resize))
        yield

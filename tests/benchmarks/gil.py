"""How far the GIL lets plain threads scale, and what they cost a thread that launches kernels.

Plan and Python code are the loader's own. Reading, decoding and resizing are replaced by waits without the GIL, and
images are small, so that copies take no time: a machine with few cores shows many threads.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from threading import Event, Thread
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from data.load import image_file
from data.load.image_file import Images
from data.load.rendering import Resized, render
from tests.benchmarks import our_loaders
from tests.benchmarks.loaders_config import BenchTask

THREADS = (1, 2, 4, 8, 16)
WAIT_S = 2.5e-4  # in the place of decoding, and of resizing: less than these take, so that 16 threads reach the limit
SMALL = 8  # pixels
BATCHES = 20
LARGEST = 1 << 14  # pixels a side of an image


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """So many threads."""

    threads: int
    images_per_s: float
    cpu_ms: float
    """CPU time an image of the whole process, ms: Python code, waits, and handing the GIL over."""
    alone_us: float
    """A launch, which here is an addition of eight numbers, in a thread that does nothing else, microseconds."""
    beside_us: float
    """The same beside the threads at their highest rate."""


def measure(task: BenchTask, seconds: float, progress: Callable[[int, int], object]) -> list[Row]:
    """A row for each number of threads."""
    torch.set_num_threads(1)
    rows = list[Row]()
    with _waiting(WAIT_S):
        for threads in THREADS:
            rows.append(_row(replace(task, contender="threads", threads=threads, size=SMALL), seconds))
            progress(len(rows), len(THREADS))
    return rows


def python_ms(task: BenchTask) -> float:
    """CPU time of the Python code of an image in one thread, ms: least of some batches."""
    plan, least = our_loaders.plan(replace(task, size=SMALL)), float("inf")
    images, out = Images(plan.manifest), torch.empty(task.batch, SMALL, SMALL, 3, dtype=torch.uint8)
    with _waiting(0):
        for samples in islice(plan.samples(0, 0), BATCHES):
            start = time.thread_time()
            for row in range(task.batch):
                render(images, samples, row, out[row], Resized())
            least = min(least, 1e3 * (time.thread_time() - start) / task.batch)
    return least


def _row(task: BenchTask, seconds: float) -> Row:
    ended, alone = Event(), _launch_us(seconds)
    with closing(our_loaders.batches(task)) as batches:
        next(batches)
        start, used, images = time.monotonic(), time.process_time(), 0
        while time.monotonic() < start + seconds:
            images += len(next(batches))
        rate, cost = images / (time.monotonic() - start), 1e3 * (time.process_time() - used) / images
        consumer = Thread(target=lambda: all(not ended.is_set() for _ in batches))  # takes them until then
        consumer.start()
        beside = _launch_us(seconds)
        ended.set()
        consumer.join()
    return Row(threads=task.threads, images_per_s=rate, cpu_ms=cost, alone_us=alone, beside_us=beside)


def _launch_us(seconds: float) -> float:
    numbers, start, count = torch.zeros(8), time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        for _ in range(100):
            torch.add(numbers, 1, out=numbers)
        count += 100
    return 1e6 * (time.perf_counter() - start) / count


def _waiting(seconds: float) -> ExitStack:
    """Replaces reading and decoding by a wait, and resizing by another, until it is left."""
    encoded, pixels = np.zeros(1000, np.uint8), np.empty((LARGEST, LARGEST, 3), np.uint8)  # untouched: takes no memory
    planes = torch.zeros(1, SMALL, SMALL, 3, dtype=torch.uint8).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)

    def waits(value: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **_plain: (seconds and time.sleep(seconds), value(*given))[1]

    stubs = ExitStack()
    stubs.enter_context(patch.object(Images, "encoded", lambda *_: encoded))
    stubs.enter_context(patch.object(image_file, "_decoded", waits(lambda _, width, height: pixels[:height, :width])))
    stubs.enter_context(patch("torch._C._nn._upsample_bilinear2d_aa", waits(lambda *_: planes)))
    return stubs

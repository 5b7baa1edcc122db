"""This package's own loaders, as the bench runs them, and the parts of their work one by one."""

import time
from collections.abc import Callable, Generator, Iterator
from itertools import count, pairwise
from statistics import median
from typing import cast

import torch
from torch import Tensor

from data.catalog import dataset
from data.load import backends
from data.load.image_file import Images
from data.load.rendering import Resized, render
from data.plan.config import EvalViews, InputConfig
from data.plan.evaluation import EvalPlan, Plan
from data.plan.plan import TrainPlan
from data.plan.samples import Samples
from data.types import Backend, Shard
from tests.benchmarks.loaders_config import BenchTask

PARTS = ("plan", "read", "decode", "crop, resize, flip", "the rest")
PULLS = 4  # batches of the whole loader in a round
REST_S = 0.1
RESTING = 0.005  # CPU seconds in that time: nobody works


def batches(task: BenchTask) -> Generator[Tensor]:
    """Batches without end, epoch after epoch, (N, S, S, 3) uint8.

    Raises:
        ModuleNotFoundError: The backend's package, or its GPU, is not there.
    """
    backend = cast(Backend, task.contender)
    on_gpu = backend == "dali_gpu"
    if on_gpu and not torch.cuda.is_available():
        raise ModuleNotFoundError("there is no GPU", name="an NVIDIA GPU")
    device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
    loader = backends.open_loader(plan(task), backend, device=device, threads=task.threads, max_broken=1.0)
    try:
        for epoch in count():
            for batch in loader.epoch(epoch):
                if on_gpu:  # or batches would count that are only queued
                    torch.cuda.current_stream().synchronize()
                yield batch.images
    finally:
        loader.close()


def operators(task: BenchTask, rounds: int, progress: Callable[[int, int], object]) -> dict[str, float]:
    """CPU ms per image of what the plain threads do: medians over the rounds.

    The parts are measured on one thread, image by image; what a part takes is the time of the work up to it, less that
    of the work before it. The rest is what the whole loader takes beyond them in the same round: its queue and its
    batches, and that threads side by side share caches and memory.
    """
    torch.set_num_threads(1)
    work, loader = plan(task), batches(task)
    images, samples = Images(work.manifest), work.samples(0, 0)
    taken: list[list[float]] = []
    for number in range(rounds + 1):
        parts, whole = _parts(images, samples), _whole(loader)
        taken.append([*parts, whole - sum(parts)])
        progress(number + 1, rounds + 1)
    images.close()
    by_part = zip(*taken[1:], strict=True)  # without the warm-up
    return {part: 1e3 * median(seconds) for part, seconds in zip(PARTS, by_part, strict=True)}


def _parts(images: Images, samples: Iterator[Samples]) -> list[float]:
    """CPU seconds per image of each part but the last."""
    start = time.thread_time()
    batch = next(samples)
    plan, read, decode, rest = time.thread_time() - start, 0.0, 0.0, 0.0
    out = torch.empty((batch.side, batch.side, 3), dtype=torch.uint8)
    for row, index in enumerate(batch.indices.tolist()):
        times = [time.thread_time()]
        images.encoded(index)
        times.append(time.thread_time())
        images.pixels(index)
        times.append(time.thread_time())
        render(images, batch, row, out, Resized())
        times.append(time.thread_time())
        first, second, third = (end - begin for begin, end in pairwise(times))
        read, decode, rest = read + first, decode + second - first, rest + third - second
    return [seconds / len(batch.indices) for seconds in (plan, read, decode, rest)]


def _whole(loader: Iterator[Tensor]) -> float:
    """CPU seconds per image of the loader, its queue full before and after."""
    start = _rested()
    images = sum(len(next(loader)) for _ in range(PULLS))
    return (_rested() - start) / images


def _rested() -> float:
    """CPU seconds of this process, once its threads rest."""
    used = -1.0
    while (now := time.process_time()) > used + RESTING:
        used = now
        time.sleep(REST_S)
    return now


def plan(task: BenchTask) -> Plan:
    """What happens to the images."""
    manifest = dataset.find(task.root).manifest(task.manifests, task.split)
    config = InputConfig(train_size=task.size, eval_resize=task.resize, eval_crop=task.size)
    if not task.training:
        return EvalPlan(manifest=manifest, views=EvalViews.of(config), batch=task.batch, shard=Shard())
    batch = task.batch
    return TrainPlan(manifest=manifest, config=config, seed=0, global_batch=batch, micro_batch=batch, shard=Shard())

"""SPDL (Meta) as its ImageNet example has it: FFmpeg decodes, crops and resizes in threads, a batch a thread."""

import random
from collections.abc import Generator, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import RandomResizedCrop

from tests.benchmarks.loaders_config import BenchTask

io: Any = import_module("spdl.io")  # an optional package: the checks of this project do without it
pipeline: Any = import_module("spdl.pipeline")


def example(task: BenchTask) -> Generator[Tensor]:
    """Batches without end, (N, S, S, 3) uint8.

    The example resizes to a square and is for evaluation only; here the crops are torchvision's.

    Raises:
        ModuleNotFoundError: FFmpeg is not installed.

    Reference: SPDL, examples/imagenet_classification.py: get_decode_func and get_pipeline.
    """
    try:
        io.utils.get_ffmpeg_versions()
    except RuntimeError as error:  # its own libraries are linked to FFmpeg's, of any version from 4 on
        raise ModuleNotFoundError(str(error), name="FFmpeg's libraries, which SPDL needs") from error
    paths = [path for path, _ in ImageFolder(task.folder).samples]
    built = (
        pipeline.PipelineBuilder()
        .add_source(_without_end(paths, shuffled=task.training))
        .aggregate(task.batch, drop_last=True)
        .pipe(lambda batch: _load(batch, task), concurrency=task.threads)
        .add_sink(2)
        .build(num_threads=task.threads)
    )
    with built.auto_stop():
        yield from built.get_iterator()


def _without_end(paths: list[str], *, shuffled: bool) -> Iterator[str]:
    while True:
        yield from random.sample(paths, len(paths)) if shuffled else paths


def _load(paths: list[str], task: BenchTask) -> Tensor:
    packets = [io.demux_image(path) for path in paths]
    filters = [_training(one.codec, task.size) if task.training else _validation(task) for one in packets]
    frames = [io.decode_packets(one, filter_desc=steps) for one, steps in zip(packets, filters, strict=True)]
    return io.to_torch(io.convert_frames(frames))


def _training(codec: Any, size: int) -> str:
    whole = torch.empty(1, codec.height, codec.width)
    top, left, height, width = RandomResizedCrop.get_params(whole, [0.08, 1.0], [3 / 4, 4 / 3])
    flip = ",hflip" if random.random() < 0.5 else ""
    window = f"crop={width}:{height}:{left}:{top}:exact=1"
    return f"{window},scale={size}:{size}:flags=bilinear{flip},format=pix_fmts=rgb24"


def _validation(task: BenchTask) -> str:
    sizes = {"scale_width": task.resize, "scale_height": task.resize, "crop_width": task.size, "crop_height": task.size}
    return io.get_video_filter_desc(**sizes, scale_algo="bilinear", scale_mode="crop")

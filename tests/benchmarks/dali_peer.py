"""The input pipeline of DALI's ResNet-50 example, on the CPU."""

from collections.abc import Iterator
from typing import Any

from nvidia.dali import fn as operators
from nvidia.dali import types as constants
from nvidia.dali.pipeline import pipeline_def as make_pipeline_def
from nvidia.dali.plugin.base_iterator import LastBatchPolicy
from nvidia.dali.plugin.pytorch import DALIClassificationIterator
from torch import Tensor

from tests.benchmarks.loaders_config import BenchTask

fn: Any = operators  # DALI makes both from its native library: its stubs do not know all their names
types: Any = constants
pipeline_def: Any = make_pipeline_def

MEAN = [0.485 * 255, 0.456 * 255, 0.406 * 255]
STD = [0.229 * 255, 0.224 * 255, 0.225 * 255]


def example(task: BenchTask) -> Iterator[Tensor]:
    """Batches without end, (N, 3, S, S) float32, normalised.

    The example's own crops are kept: an area of 0.1 to 1, a ratio of 0.8 to 1.25. Its copies to
    the GPU are left out.

    Reference: DALI, docs/examples/use_cases/pytorch/resnet50/main.py: create_dali_pipeline and
    image_processing_func with `--dali_cpu`.
    """
    pipeline = _pipeline(task, batch_size=task.batch, num_threads=task.threads, device_id=None, seed=12)
    pipeline.build()
    loader: Any = DALIClassificationIterator(
        pipeline, reader_name="Reader", last_batch_policy=LastBatchPolicy.PARTIAL, auto_reset=True
    )
    while True:
        for (batch,) in loader:
            yield batch["data"]


@pipeline_def(exec_dynamic=True)
def _pipeline(task: BenchTask) -> tuple[Any, Any]:
    files, labels = fn.readers.file(
        file_root=str(task.folder), random_shuffle=task.training, pad_last_batch=True, name="Reader"
    )
    images, mirror = _training(files, task) if task.training else _validation(files, task)
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        crop=(task.size, task.size),
        mean=MEAN,
        std=STD,
        mirror=mirror,
    )
    return images, labels


def _training(files: Any, task: BenchTask) -> tuple[Any, Any]:
    images = fn.decoders.image_random_crop(
        files,
        device="cpu",
        output_type=types.RGB,
        random_aspect_ratio=[0.8, 1.25],
        random_area=[0.1, 1.0],
        num_attempts=100,
    )
    images = fn.resize(images, resize_x=task.size, resize_y=task.size, interp_type=types.INTERP_TRIANGULAR)
    return images, fn.random.coin_flip(probability=0.5)


def _validation(files: Any, task: BenchTask) -> tuple[Any, Any]:
    images = fn.decoders.image(files, device="cpu", output_type=types.RGB)
    images = fn.resize(images, size=task.resize, mode="not_smaller", interp_type=types.INTERP_TRIANGULAR)
    return images, False

"""Other packages' loaders, each set up as its own project's training script sets it up.

An epoch is drawn out to the length of ImageNet's by listing the images again and again: with a small set, ends of
epochs, at which worker processes run dry or start anew, would otherwise weigh more than they do in earnest.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import transforms as v1
from torchvision.transforms import v2

from tests.benchmarks.loaders_config import BenchTask

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPOCH = 1_000_000

Item = TypeVar("Item")


def torchvision_reference(task: BenchTask) -> Iterator[Tensor]:
    """Batches without end, (N, 3, S, S) float32, normalised.

    Reference: torchvision, references/classification: ClassificationPresetTrain and ClassificationPresetEval of
    presets.py, load_data and main of train.py.
    """
    crop = (
        [v1.RandomResizedCrop(task.size), v1.RandomHorizontalFlip(0.5)]
        if task.training
        else [v1.Resize(task.resize), v1.CenterCrop(task.size)]
    )
    convert = [v1.PILToTensor(), v1.ConvertImageDtype(torch.float), v1.Normalize(MEAN, STD)]
    return _torchvision_batches(task, ImageFolder(task.folder, v1.Compose([*crop, *convert])))


def torchvision_v2(task: BenchTask) -> Iterator[Tensor]:
    """Batches without end, (N, 3, S, S) float32, normalised.

    Reference: the same files under `--use-v2 --backend tensor`, with `torchvision.io.decode_image` in the place of
    Pillow, which the script uses even then.
    """
    crop = (
        [v2.RandomResizedCrop(task.size, antialias=True), v2.RandomHorizontalFlip(0.5)]
        if task.training
        else [v2.Resize(task.resize, antialias=True), v2.CenterCrop(task.size)]
    )
    convert = [v2.ToDtype(torch.float, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()]
    return _torchvision_batches(task, ImageFolder(task.folder, v2.Compose([*crop, *convert]), loader=_decode))


def timm_loader(task: BenchTask) -> Iterator[Tensor]:
    """Batches without end, (N, 3, S, S) float32, normalised.

    All defaults but the colour jitter, which nobody else here does. The default prefetcher works without a GPU too:
    uint8 batches come from the worker processes and are normalised in this one, which is timed with the rest.

    Reference: timm, timm/data/loader.py, create_loader, as train.py calls it.
    """
    from timm.data.dataset import ImageDataset
    from timm.data.loader import create_loader

    dataset: Any = ImageDataset(str(task.folder))
    dataset.reader.samples = drawn_out(dataset.reader.samples)
    loader: Any = create_loader(
        dataset,
        input_size=(3, task.size, task.size),
        batch_size=task.batch,
        is_training=task.training,
        color_jitter=None,  # type: ignore[arg-type]
        num_workers=task.threads,
        device=torch.device("cpu"),
    )
    return _images(loader)


def drawn_out(items: list[Item]) -> list[Item]:
    """The items, again and again, until there are as many as ImageNet has."""
    return items * -(-EPOCH // len(items))


def _torchvision_batches(task: BenchTask, dataset: ImageFolder) -> Iterator[Tensor]:
    dataset.samples = drawn_out(dataset.samples)
    sampler: Callable[[ImageFolder], Any] = RandomSampler if task.training else SequentialSampler
    # the script pins always, which without a GPU is a warning and nothing else
    pin = torch.cuda.is_available()
    loader = DataLoader(dataset, task.batch, sampler=sampler(dataset), num_workers=task.threads, pin_memory=pin)
    return _images(loader)


def _decode(path: str | Path) -> Tensor:
    return decode_image(str(path), mode=ImageReadMode.RGB)


def _images(loader: Any) -> Iterator[Tensor]:
    while True:
        for images, _ in loader:
            yield images

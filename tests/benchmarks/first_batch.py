"""`python -m tests.benchmarks.first_batch FOLDER NETWORK CLASSES PIXELS IMAGES`: what no trainer can start without.

Imports, a network, a batch of decoded images, and a first step over it in bf16; a line after the batch and the step.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import accelerate  # noqa: F401 - it is loaded and no more
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils import tensorboard  # noqa: F401 - the same

from models import factory
from models.config import ModelConfig


def main() -> None:
    """Do it once."""
    folder, name, classes, pixels, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    network = factory.build(ModelConfig(name=name, num_classes=classes)).train().to(memory_format=torch.channels_last)
    optimizer = SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    images = _batch(Path(folder), pixels, count)
    _say("batch")
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(network(images), torch.zeros(count, dtype=torch.int64))
    loss.backward()
    optimizer.step()
    _say("step")


def _batch(folder: Path, pixels: int, count: int) -> Tensor:
    """(count, 3, pixels, pixels) float, of a folder's first images, decoded by as many threads as torch has."""
    files = sorted(folder.glob("*/*"))[:count]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        decoded = list(pool.map(lambda file: _decoded(file, pixels), files))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2) / 255  # (N, H, W, C) -> (N, C, H, W)


def _decoded(file: Path, pixels: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((pixels, pixels), Image.Resampling.BILINEAR))


def _say(what: str) -> None:
    sys.stdout.write(f"done: {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

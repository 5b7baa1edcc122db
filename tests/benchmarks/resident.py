"""One batch that is always there, so that a training loop is timed without a loader."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.benchmarks.config import LoopTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A training loop on such a batch."""

    network: nn.Module
    """What it trains."""
    turn: Callable[[], None]
    """Take `LoopTask.steps` steps (collective)."""
    agreed: Callable[[bool], bool]
    """Whether any rank says so (collective)."""


def images_and_targets(task: LoopTask) -> tuple[Tensor, Tensor]:
    """(N, H, W, 3) uint8 of noise and (N,) int64 of random classes, the same for every loop."""
    generator = torch.Generator().manual_seed(0)
    shape = (task.batch, task.image_size, task.image_size, 3)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return images, torch.randint(task.num_classes, (task.batch,), generator=generator)

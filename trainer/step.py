"""One optimizer update."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from data.config import InputConfig
from data.types import Batch
from trainer import metrics
from trainer.config import Recipe
from trainer.loss import cross_entropy, logits_of
from trainer.runtime import Runtime


class Normalize:
    """uint8 images from the loader to what a network takes, on the device."""

    def __init__(self, config: InputConfig, device: torch.device, *, channels_last: bool) -> None:
        """Put the constants on the device once."""
        self._device = device
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._mean = 255 * torch.tensor(config.mean, device=device).view(1, 3, 1, 1)
        self._scale = 1 / (255 * torch.tensor(config.std, device=device).view(1, 3, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 on the host -> (N, 3, H, W) float32 on the device, normalised."""
        images = images.to(self._device, non_blocking=True).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
        return images.to(torch.float32, memory_format=self._layout).sub_(self._mean).mul_(self._scale)


class TrainStep:
    """Forward and backward over the micro-batches of one global batch, then the update."""

    def __init__(
        self, runtime: Runtime, model: nn.Module, optimizer: Optimizer, normalize: Normalize, recipe: Recipe
    ) -> None:
        """`model` is the distributed one."""
        self._runtime, self._model, self._optimizer = runtime, model, optimizer
        self._normalize, self._recipe = normalize, recipe

    def __call__(self, batches: Sequence[Batch], step: int, lr: float, images: int) -> Tensor:
        """Update the weights (collective).

        Args:
            batches: This process's micro-batches of the step.
            step: Optimizer steps done before; with the recipe's seed it decides what dropout and its like draw, so that
                there is no generator to save.
            lr: Learning rate.
            images: Valid images of the step, over all processes: each weighs the same.

        Returns:
            (metrics.FIELDS,) sums over this process's images, on the device.
        """
        torch.manual_seed(draw_seed(self._recipe.seed, step, self._runtime.world.rank))
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        sums = metrics.empty(self._runtime.device)
        for batch in batches[:-1]:
            with self._runtime.no_sync(self._model):
                sums += self._micro(batch, images)
        sums += self._micro(batches[-1], images)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return sums

    def _micro(self, batch: Batch, images: int) -> Tensor:
        targets, valid = (part.to(self._runtime.device, non_blocking=True) for part in (batch.targets, batch.valid))
        outputs = self._model(self._normalize(batch.images))
        losses = cross_entropy(outputs, targets, self._recipe.label_smoothing)
        # gradients are averaged over the processes, which here have seen each a part of the images
        self._runtime.backward(losses.where(valid, 0).sum() * (self._runtime.world.world_size / images))
        return metrics.totals(logits_of(outputs).detach(), targets, valid, losses.detach())


def draw_seed(*numbers: int) -> int:
    """64 bits that follow from the numbers, on every machine and version."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])

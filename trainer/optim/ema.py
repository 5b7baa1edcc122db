"""A moving average of a network's weights and buffers."""

# foreach operations are not public
# pyright: reportPrivateImportUsage=false
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

from trainer.optim.config import EmaConfig


class Ema:
    """A second network that holds the average, and can be evaluated."""

    def __init__(self, network: nn.Module, config: EmaConfig) -> None:
        """Copy a network that is on its final device and in its memory format; `config.decay` must be set."""
        assert config.decay is not None
        self._decay, self._every, self._warmup = config.decay, config.every, config.warmup
        self.network = deepcopy(network).requires_grad_(False).eval()
        self.updates = 0
        self._pairs = _by_type(self.network, network)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average if this step is one of every `every`; `step`: optimizer steps done.

        Floating-point weights and buffers are averaged; others, such as BatchNorm's count of batches, are copied.
        """
        if step % self._every:
            return
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates)) if self._warmup else self._decay
        for averages, currents in self._pairs:
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, currents, 1 - decay)
            else:
                torch._foreach_copy_(averages, currents)
        self.updates += 1


def _by_type(average: nn.Module, current: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Pairs of lists of corresponding tensors, one for each dtype, as one foreach kernel takes them."""
    groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for mine, theirs in zip(_tensors(average), _tensors(current), strict=True):
        averages, currents = groups.setdefault(mine.dtype, ([], []))
        averages.append(mine)
        currents.append(theirs)
    return list(groups.values())


def _tensors(network: nn.Module) -> chain[Tensor]:
    return chain(network.parameters(), network.buffers())

"""BatchNorm's running statistics, the same at every world size.

They are updated once in an optimizer step, by the mean over the micro-batches of the whole `global_batch`, wherever
these were computed. The update is linear in what a batch shows, so that each process may follow its own micro-batches,
and the mean over the processes may wait until somebody looks.
"""

# foreach operations have no public name
# pyright: reportPrivateImportUsage=false
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn


def buffers(network: nn.Module) -> dict[str, Tensor]:
    """Running means and variances by their names in the state dict."""
    return {
        f"{name}.{kind}" if name else kind: buffer
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm)
        for kind, buffer in (("running_mean", module.running_mean), ("running_var", module.running_var))
        if buffer is not None
    }


def flat(networks: Sequence[nn.Module]) -> Tensor:
    """(n,) float: a copy of all running statistics of the networks, which must lie on one device."""
    parts = [buffer.flatten() for network in networks for buffer in buffers(network).values()]
    return torch.cat(parts) if parts else torch.zeros(0)


def put(networks: Sequence[nn.Module], values: Tensor) -> None:
    """Write what `flat` gave, or a mean of several, into the networks."""
    for network, named in zip(networks, split(networks, values), strict=True):
        places = buffers(network)
        for name, part in named.items():
            places[name].copy_(part)


def split(networks: Sequence[nn.Module], values: Tensor) -> list[dict[str, Tensor]]:
    """What `flat` gave, for each network by the names of the state dict; views of `values`."""
    places = [buffers(network) for network in networks]
    parts = iter(values.split([buffer.numel() for named in places for buffer in named.values()]))
    return [{name: next(parts).view_as(buffer) for name, buffer in named.items()} for named in places]


@torch.no_grad()
def recalibrate(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Replace the running statistics by the plain mean over these images, whose number is that of a whole pass.

    Args:
        network: Left in the mode that it was in.
        images: (N, 3, H, W) float each, normalised.

    Reference:
        2105.07576, section 3.2 (PreciseBN).
    """
    update_bn(images, network)


class Accumulated:
    """One update in a step that has several micro-batches, or none where the step is taken back."""

    def __init__(self, network: nn.Module, micro_batches: int) -> None:
        """`network` must lie on its final device."""
        self._buffers = list(buffers(network).values())
        self._counters = [
            module.num_batches_tracked
            for module in network.modules()
            if isinstance(module, _BatchNorm) and module.num_batches_tracked is not None
        ]
        self._micro_batches = micro_batches
        self._before = [buffer.clone() for buffer in self._buffers]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers] if micro_batches > 1 else []

    def begin(self) -> None:
        """Before the first micro-batch of a step."""
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)
        if self._sums:
            torch._foreach_zero_(self._sums)

    def add(self) -> None:
        """After each micro-batch: take its update aside, and let the next begin where this one began."""
        if self._sums:
            torch._foreach_add_(self._sums, self._buffers)
            torch._foreach_copy_(self._buffers, self._before)

    def end(self, taken_back: Tensor | None = None) -> None:
        """After the last one.

        Args:
            taken_back: () bool on the device: whether the statistics shall be those before the step. None: no.
        """
        if self._sums:
            torch._foreach_copy_(self._buffers, torch._foreach_div(self._sums, float(self._micro_batches)))
            torch._foreach_sub_(self._counters, self._micro_batches - 1)
        if taken_back is not None:
            for buffer, before in zip(self._buffers, self._before, strict=True):
                buffer.copy_(torch.where(taken_back, before, buffer))

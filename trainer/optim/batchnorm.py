"""BatchNorm's running statistics, the same at every world size.

They are updated once in an optimizer step, by the mean over the micro-batches of the whole `global_batch`. The update
is linear in the batch's statistics, so each process can apply it to its own micro-batches, and the mean over the
processes is taken only before the statistics are used or saved.
"""

# foreach operations are not public
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
    """(n,) float: a copy of all running statistics of the networks, which must be on one device."""
    statistics = [buffer.flatten() for network in networks for buffer in buffers(network).values()]
    return torch.cat(statistics) if statistics else torch.zeros(0)


def put(networks: Sequence[nn.Module], values: Tensor) -> None:
    """Write the result of `flat`, or a mean of several, into the networks."""
    for network, named in zip(networks, split(networks, values), strict=True):
        for name, buffer in buffers(network).items():
            buffer.copy_(named[name])


def split(networks: Sequence[nn.Module], values: Tensor) -> list[dict[str, Tensor]]:
    """The result of `flat` for each network by the names of its state dict; views of `values`."""
    originals = [buffers(network) for network in networks]
    pieces = iter(values.split([buffer.numel() for named in originals for buffer in named.values()]))
    return [{name: next(pieces).view_as(buffer) for name, buffer in named.items()} for named in originals]


@torch.no_grad()
def recalibrate(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Replace the running statistics by the plain mean over these batches.

    Args:
        network: Its mode stays as it is.
        images: (N, 3, H, W) float each, normalised.

    Reference:
        2105.07576, section 3.2 (PreciseBN).
    """
    update_bn(images, network)


class Accumulated:
    """One update of the statistics in a step of several micro-batches, and none in a step that is skipped."""

    def __init__(self, network: nn.Module, micro_batches: int) -> None:
        """`network` must be on its final device and in training mode, but for frozen layers, which it leaves alone."""
        training = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
        self._buffers = [buffer for module in training for buffer in buffers(module).values()]
        self._counters = [module.num_batches_tracked for module in training if module.num_batches_tracked is not None]
        self._micro_batches = micro_batches
        self._before = [buffer.clone() for buffer in self._buffers]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers] if micro_batches > 1 else []

    def begin(self) -> None:
        """Call before the first micro-batch of a step."""
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)
        if self._sums:
            torch._foreach_zero_(self._sums)

    def add(self) -> None:
        """Call after each micro-batch: add its statistics to a sum, and restore those from before the step."""
        if self._sums:
            torch._foreach_add_(self._sums, self._buffers)
            torch._foreach_copy_(self._buffers, self._before)

    def end(self, skipped: Tensor | None = None) -> None:
        """Call after the last micro-batch: write the mean over all; restore the statistics where `skipped`, () bool."""
        if self._sums:
            torch._foreach_copy_(self._buffers, torch._foreach_div(self._sums, float(self._micro_batches)))
            torch._foreach_sub_(self._counters, self._micro_batches - 1)
        if skipped is not None:
            for buffer, before in zip(self._buffers, self._before, strict=True):
                buffer.copy_(torch.where(skipped, before, buffer))

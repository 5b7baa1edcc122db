"""One forward pass seen layer by layer: output shapes, parameters, multiply-adds."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from models import factory, registry
from models.config import ModelConfig
from models.layers import BlurPool


@dataclass(frozen=True, slots=True)
class Row:
    """One call of one module."""

    path: str
    """Dotted name in the network."""

    kind: str
    """Class name."""

    output_shape: tuple[int, ...]
    """Of the whole batch."""

    parameters: int
    """The module's own, not its children's."""

    multiply_adds: int
    """Of the whole batch; of one image if there is none in it."""

    module: nn.Module


def skeleton(config: ModelConfig) -> nn.Module:
    """The network on the meta device: shapes alone, no memory and nothing to compute."""
    with torch.device("meta"), _WithoutCompiler(), suppress(ValueError):
        return factory.build(config)
    return factory.build(config).to("meta")  # torchvision's RegNets compute their widths with tensors


def trace(network: nn.Module, images: Tensor) -> list[Row]:
    """Rows in the order in which modules return, as torchsummary has them, from one pass in evaluation mode.

    Containers, no-ops and the network itself have no row. On the meta device nothing is computed.
    """
    rows: list[Row] = []
    training = network.training
    watched = [(path, module) for path, module in network.named_modules() if path and not _silent(module)]
    hooks = [module.register_forward_hook(partial(_record, rows, path)) for path, module in watched]
    try:
        with torch.no_grad():
            network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
    return rows


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, image_size: int, in_channels: int = 3) -> int:
    """Multiply-adds of one image in evaluation: of convolutions, matrix products and attention (the papers' FLOPs)."""
    images, training = next(network.parameters()).new_zeros(1, in_channels, image_size, image_size), network.training
    # a hook on modules does not see attention; the counter asserts a graph where a module's input is a weight
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(images)
    network.train(training)
    return counter.get_total_flops() // 2


def cost(config: ModelConfig, image_size: int) -> int:
    """The same of a network by its config; of our own without the meta device, whose passes load the compiler."""
    if not registry.is_ours(config.name):
        return multiply_adds(skeleton(config), image_size, config.in_channels)
    with _WithoutCompiler():
        network = skeleton(config).to_empty(device="cpu")
    nothing = torch.empty(0, config.in_channels, image_size, image_size)  # has shapes, and nothing to compute
    return sum(row.multiply_adds for row in trace(network, nothing))


def saved_for_backward(network: nn.Module, image_size: int, in_channels: int = 3) -> int:
    """Numbers that autograd keeps of one training image, weights apart; two images are passed, as BatchNorm wants."""
    own = {tensor.untyped_storage()._cdata for tensor in network.state_dict(keep_vars=True).values()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage._cdata] = storage.nbytes() // 4  # of float32
        return tensor

    training = network.training
    images = next(network.parameters()).new_zeros(2, in_channels, image_size, image_size)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = network.train()(images)  # holds the graph, and so all storages, until they are counted
    network.train(training)
    del outputs
    return sum(size for storage, size in sizes.items() if storage not in own) // 2


def _silent(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential | nn.Identity)


def _record(rows: list[Row], path: str, module: nn.Module, _inputs: object, output: object) -> None:
    if not isinstance(output, Tensor):
        return  # a timm block that passes several on; its layers have their own rows
    own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    count = _cost(module) * prod(size or 1 for size in output.shape)
    rows.append(Row(path, type(module).__name__, tuple(output.shape), own, count, module))


def _cost(module: nn.Module) -> int:
    """Multiply-adds for one element of the output."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        return module.in_channels // module.groups * height * width
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, BlurPool):
        return module.kernel[0].numel()
    return 0


class _WithoutCompiler(TorchFunctionMode):
    """Builds a network on the meta device without those operations that load the compiler there, which takes 1.3 s.

    The initial weights are not drawn.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        if func is torch.empty_like and args:  # of `to_empty`
            like = {"dtype": args[0].dtype, "device": args[0].device}
            return torch.empty(args[0].shape, **{**like, **(kwargs or {})})
        return func(*args, **(kwargs or {}))

"""Weights that a run leaves as they are."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from types import MethodType

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.fitting import classifiers

BACKBONE = "backbone"  # what a user calls all layers but the classifier


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude weights from training, by patterns of `init.freeze`.

    BatchNorm whose weights are frozen keeps its statistics too: it stays in evaluation mode for good.
    """
    frozen = set(_matching(network, patterns))
    for name, weight in network.named_parameters():
        weight.requires_grad_(name not in frozen)
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, _BatchNorm) and own and not any(weight.requires_grad for weight in own):
            module.eval().train = MethodType(_unchanged, module)


def problems(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Why these weights cannot be frozen, for the user; the network may be on the meta device."""
    idle = [pattern for pattern in patterns if not any(_matching(network, [pattern]))]
    names = [name for name, _ in network.named_children()]
    if idle:
        return [f"init.freeze: {idle[0]!r} is no weight's name; use {BACKBONE} or patterns such as {names[0]}.*"]
    if len({*_matching(network, patterns)}) == len(list(network.parameters())):
        return ["init.freeze: leaves nothing to train"]
    return []


def _matching(network: nn.Module, patterns: Sequence[str]) -> Iterator[str]:
    heads = tuple(f"{name}." for name in classifiers(network))
    for name, _ in network.named_parameters():
        in_backbone = BACKBONE in patterns and not name.startswith(heads)
        if in_backbone or any(fnmatchcase(name, one) or fnmatchcase(name, f"{one}.*") for one in patterns):
            yield name


def _unchanged(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: ARG001 - the signature it stands in for
    """In place of `nn.Module.train`."""
    return module

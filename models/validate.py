"""Proof that one of our networks is the public one: the same weights in both, then everything compared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import mapping, reference, registry
from models.config import ModelConfig
from models.inception import AUX_LOSS_WEIGHT
from models.trace import multiply_adds, parameter_count, skeleton

# float32: rounding in another order of addition; a wrong layer differs by orders of magnitude more.
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-3}
"""Largest absolute difference allowed, by dtype."""

QUANTITIES = ("weights", "logits", "train logits", "loss", "gradients", "statistics")
"""What is compared: weights carried over and back, logits in evaluation, and what one train step leaves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Ours against the counterpart in one dtype; a pair is (ours, theirs)."""

    name: str
    dtype: torch.dtype
    parameters: tuple[int, int]
    multiply_adds: tuple[int, int]

    differences: Mapping[str, float]
    """Largest absolute difference, by what was compared; infinite where names or shapes disagree."""

    @property
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return self.parameters, self.multiply_adds

    @property
    def equal(self) -> bool:
        within = (difference <= LIMITS[self.dtype] for difference in self.differences.values())  # not for a NaN
        return all(ours == theirs for ours, theirs in self.counts) and all(within)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainStep:
    """What one forward and backward pass in training mode leaves, under the counterpart's names."""

    logits: Tensor
    loss: Tensor
    gradients: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]


def compare(name: str, dtype: torch.dtype, image_size: int | None = None, batch: int = 2) -> Comparison:
    """Builds both, carries weights over and back, and compares evaluation and one train step.

    Args:
        name: One of our networks.
        dtype: float64 or float32.
        image_size: Side of the random images; None for the paper's.
        batch: Images; at least 2, for BatchNorm.
    """
    row = registry.entry(name)
    size = row.image_size if image_size is None else image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator, dtype=dtype)
    labels = torch.randint(row.num_classes, (batch,), generator=generator)
    theirs = _with_random_norms(reference.twin(name).to(dtype), images, generator)
    ours = skeleton(ModelConfig(name=name, num_classes=row.num_classes))  # without weights that others would replace
    counted = multiply_adds(ours, size)
    weights = mapping.from_reference(theirs.state_dict(), row.module)
    ours.load_state_dict({key: value.clone() for key, value in weights.items()}, assign=True)
    return Comparison(
        name=name,
        dtype=dtype,
        parameters=(parameter_count(ours), parameter_count(theirs)),
        multiply_adds=(counted, multiply_adds(theirs, size)),
        differences=differences(ours, theirs, row.module, images, labels),
    )


def _with_random_norms(network: nn.Module, images: Tensor, generator: torch.Generator) -> nn.Module:
    """Gives every BatchNorm a gamma, a beta and statistics of its own: at 1 and 0, two exchanged ones look alike."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
        nn.init.normal_(norm.bias, std=0.1, generator=generator)
    # The statistics of these images, so that a thousand layers do not overflow in evaluation.
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network


def differences(ours: nn.Module, theirs: nn.Module, module: str, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Largest absolute differences of two networks with the same weights, by QUANTITIES; `module` is that of ours."""
    carried = _furthest(mapping.to_reference(ours.state_dict(), module), theirs.state_dict())
    with torch.no_grad():
        evaluated = _difference(ours.eval()(images), theirs.eval()(images))
    step, expected = (train_step(network, images, labels) for network in (ours, theirs))
    measured = (
        carried,
        evaluated,
        _difference(step.logits, expected.logits),
        _difference(step.loss, expected.loss),
        _furthest(mapping.to_reference(step.gradients, module), expected.gradients),
        _furthest(mapping.to_reference(step.statistics, module), expected.statistics),
    )
    return dict(zip(QUANTITIES, measured, strict=True))


def train_step(network: nn.Module, images: Tensor, labels: Tensor) -> TrainStep:
    """One forward and backward pass in training mode, the auxiliary head's loss included."""
    torch.manual_seed(0)  # both networks then drop the same features
    network.train().zero_grad()
    output = network(images)
    heads = output if isinstance(output, tuple) else (output,)
    weights = (1.0, AUX_LOSS_WEIGHT)
    losses = [weight * F.cross_entropy(logits, labels) for weight, logits in zip(weights, heads, strict=False)]
    loss = torch.stack(losses).sum()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return TrainStep(
        logits=torch.cat(heads, dim=1).detach(),
        loss=loss.detach(),
        gradients={name: gradient for name, gradient in gradients.items() if gradient is not None},
        statistics={name: buffer for name, buffer in network.named_buffers() if "running_" in name},
    )


def _furthest(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    if ours.keys() != theirs.keys():
        return math.inf
    differences = [_difference(ours[name], theirs[name]) for name in ours]
    return torch.tensor(differences, dtype=torch.float64).max().item()  # unlike Python's max, NaN where one is


def _difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return math.inf
    return (ours - theirs).abs().max().item()

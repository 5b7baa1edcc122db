import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from models import factory, reference, registry, validate
from models.config import ModelConfig

QUICK = ("plain18", "resnet50_v1", "resnet20", "plain20", "ghostnet_050")
LEAST = {"inception_v3": 299}  # its auxiliary head's
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in registry.names()]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_equals_its_public_counterpart_in_double_precision(name: str) -> None:
    result = validate.compare(name, torch.float64, image_size=LEAST.get(name, registry.entry(name).min_size))
    assert result.parameters[0] == result.parameters[1]
    assert result.multiply_adds[0] == result.multiply_adds[1]
    assert {quantity: value for quantity, value in result.differences.items() if not value <= 1e-10} == {}
    assert result.equal


@pytest.mark.parametrize("name", ["resnet20", "ghostnet_050"])
def test_single_precision_agrees_to_its_rounding(name: str) -> None:
    assert validate.compare(name, torch.float32, image_size=32).equal


def swap_strides(network: nn.Module) -> None:
    block = network.get_submodule("layer2.0")
    block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride  # type: ignore[union-attr]


def tighten_epsilon(network: nn.Module) -> None:
    network.get_submodule("bn1").eps = 1e-3  # type: ignore[assignment]


def slow_statistics(network: nn.Module) -> None:
    network.get_submodule("bn1").momentum = 0.01  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("depart", "shown"),
    [
        (swap_strides, {"logits", "train logits", "loss", "gradients", "statistics"}),
        (tighten_epsilon, {"logits", "train logits", "loss", "gradients", "statistics"}),
        (slow_statistics, {"statistics"}),
    ],
)
def test_one_layer_that_departs_is_seen(depart: Callable[[nn.Module], None], shown: set[str]) -> None:
    theirs = reference.twin("resnet20").double()
    ours = factory.build(ModelConfig(name="resnet20", num_classes=10)).double()
    ours.load_state_dict(theirs.state_dict())
    depart(ours)
    images, labels = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.tensor([3, 5])
    found = validate.differences(ours, theirs, "models.resnet", images, labels)
    assert {quantity for quantity, value in found.items() if value > 1e-10} == shown


def test_what_is_no_number_is_a_difference_wherever_it_stands() -> None:
    theirs = reference.twin("resnet20").double()
    ours = factory.build(ModelConfig(name="resnet20", num_classes=10)).double()
    state = theirs.state_dict()
    state["layer2.0.bn1.running_mean"] = torch.full((32,), math.nan, dtype=torch.float64)
    ours.load_state_dict(state)
    images, labels = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.tensor([3, 5])
    found = validate.differences(ours, theirs, "models.resnet", images, labels)
    assert {quantity for quantity, value in found.items() if math.isnan(value)} >= {"weights", "logits", "statistics"}


@pytest.mark.parametrize(
    ("difference", "parameters", "equal"),
    [(1e-10, (5, 5), True), (1.1e-10, (5, 5), False), (math.nan, (5, 5), False), (0.0, (5, 6), False)],
)
def test_the_verdict_needs_every_figure(difference: float, parameters: tuple[int, int], equal: bool) -> None:
    comparison = validate.Comparison(
        name="resnet18",
        dtype=torch.float64,
        parameters=parameters,
        multiply_adds=(7, 7),
        differences={"logits": 0.0, "loss": difference},
    )
    assert comparison.equal is equal

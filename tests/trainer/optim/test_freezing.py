from copy import deepcopy

import pytest
import torch
from torch import nn

from models import factory
from models.config import ModelConfig
from trainer.optim import freezing


def network() -> nn.Module:
    torch.manual_seed(0)
    return factory.build(ModelConfig(name="resnet20", num_classes=4))


def trained(network: nn.Module) -> set[str]:
    return {name for name, weight in network.named_parameters() if weight.requires_grad}


def test_a_frozen_backbone_leaves_the_classifier() -> None:
    frozen = network()
    freezing.freeze(frozen, ["backbone"])
    assert trained(frozen) == {"fc.weight", "fc.bias"}


def test_patterns_name_modules_or_weights() -> None:
    frozen = network()
    freezing.freeze(frozen, ["layer1", "layer2.*", "conv1.weight"])
    every = {name for name, _ in frozen.named_parameters()}
    left = every - trained(frozen)
    assert left == {name for name in every if name.startswith(("layer1.", "layer2.", "conv1."))}


def test_frozen_batchnorm_keeps_its_statistics_whatever_mode_is_asked_for() -> None:
    frozen = network()
    freezing.freeze(frozen, ["layer1", "conv1", "bn1"])
    for copied in (frozen, deepcopy(frozen)):
        before = {name: value.clone() for name, value in copied.named_buffers()}
        copied.eval()
        copied.train()
        copied(torch.randn(4, 3, 16, 16))
        moved = {name.split(".")[0] for name, value in copied.named_buffers() if not torch.equal(value, before[name])}
        assert moved == {"layer2", "layer3"}
    assert frozen.training


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        (["layer9"], "init.freeze: 'layer9' is no weight's name; use backbone or patterns such as conv1.*"),
        (["*"], "init.freeze: leaves nothing to train"),
        (["backbone", "fc"], "init.freeze: leaves nothing to train"),
        (["backbone", "layer1"], None),
    ],
)
def test_what_cannot_be_frozen_is_said(patterns: list[str], reason: str | None) -> None:
    assert freezing.problems(network(), patterns) == ([reason] if reason else [])

"""Groups of weights, held to those of timm's `create_optimizer_v2`."""

from typing import Any

import pytest
from timm.optim._optim_factory import create_optimizer_v2
from torch import nn

from models import factory
from models.config import ModelConfig
from models.trace import skeleton
from trainer.optim.config import AdamWConfig
from trainer.optim.optimizer import parameter_groups

NETWORKS = (
    *("resnet18", "resnext50_32x4d", "regnety_002", "efficientnet_b0", "mobilenetv3_small_050", "ghostnet_100"),
    *("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224", "beit_base_patch16_224"),
    *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "maxvit_pico_rw_256", "convnext_atto"),
    *("convnextv2_atto", "levit_128s", "xcit_nano_12_p16_224", "mixer_s32_224", "coat_tiny", "edgenext_xx_small"),
)
Group = tuple[list[str], float, float]


def described(network: nn.Module, groups: list[dict[str, Any]]) -> list[Group]:
    """Names, decay and factor of the rate of each group, sorted."""
    names = {id(weight): name for name, weight in network.named_parameters()}
    return sorted(
        (sorted(names[id(weight)] for weight in group["params"]), group["weight_decay"], group.get("lr_scale", 1.0))
        for group in groups
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_timm_s(name: str) -> None:
    network = skeleton(ModelConfig(name=f"timm/{name}"))
    for layer_decay in (None, 0.75):
        config = AdamWConfig(weight_decay=0.05, no_decay="network", layer_decay=layer_decay)
        theirs = create_optimizer_v2(network, "adamw", lr=1.0, weight_decay=0.05, layer_decay=layer_decay)
        assert described(network, parameter_groups(network, config)) == described(network, theirs.param_groups)


@pytest.mark.parametrize(("name", "kept"), [("vit_tiny_patch16_224", 2), ("swin_tiny_patch4_window7_224", 12)])
def test_without_the_field_a_run_keeps_the_groups_it_was_begun_with(name: str, kept: int) -> None:
    network = skeleton(ModelConfig(name=f"timm/{name}"))
    before, now = (
        {name for names, decay, _ in described(network, parameter_groups(network, config)) if decay for name in names}
        for config in (AdamWConfig(), AdamWConfig(no_decay="network"))
    )
    assert len(before - now) == kept
    assert not now - before


@pytest.mark.parametrize(
    ("ours", "theirs"), [("resnet50", "resnet50"), ("ghostnet_100", "ghostnet_100"), ("resnext50_32x4d",) * 2]
)
def test_our_networks_have_the_layers_of_timm_s(ours: str, theirs: str) -> None:
    config = AdamWConfig(layer_decay=0.5)
    sizes = [
        [(len(names), decay, factor) for names, decay, factor in described(network, parameter_groups(network, config))]
        for network in (skeleton(ModelConfig(name=ours)), skeleton(ModelConfig(name=f"timm/{theirs}")))
    ]
    assert sorted(sizes[0]) == sorted(sizes[1])


def test_inception_s_layers_are_its_blocks_and_both_classifiers_are_last() -> None:
    network = factory.build(ModelConfig(name="inception_v3", num_classes=5))
    groups = described(network, parameter_groups(network, AdamWConfig(layer_decay=0.5)))
    factors = {name: factor for names, _, factor in groups for name in names}
    assert factors["fc.weight"] == factors["AuxLogits.fc.weight"] == 1.0
    order = ("Mixed_7c", "Mixed_7b", "Mixed_7a", "Mixed_6e")
    assert [factors[f"{block}.branch1x1.conv.weight"] for block in order if "7a" not in block] == [0.5, 0.25, 0.0625]
    assert min(factors.values()) == factors["Conv2d_1a_3x3.conv.weight"] == 0.5**12

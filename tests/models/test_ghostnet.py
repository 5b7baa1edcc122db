import pytest
import timm
import torch
from torch import nn

from models import factory, mapping
from models.config import ModelConfig
from models.ghostnet import STAGES, GhostBottleneck, scaled


@pytest.mark.parametrize("name", ["ghostnet_050", "ghostnet_100", "ghostnet_130"])
def test_the_same_seed_gives_timm_s_weights(name: str) -> None:
    torch.manual_seed(3)
    ours = mapping.to_reference(factory.build(ModelConfig(name=name)).state_dict(), "models.ghostnet")
    torch.manual_seed(3)
    theirs = timm.create_model(name).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_bottlenecks_are_those_of_table_1() -> None:
    # Table 1 as printed: #exp, #out, SE, stride; sixteen G-bnecks.
    printed = """
        16 16 - 1, 48 24 - 2, 72 24 - 1, 72 40 1 2, 120 40 1 1, 240 80 - 2, 200 80 - 1, 184 80 - 1,
        184 80 - 1, 480 112 1 1, 672 112 1 1, 672 160 1 2, 960 160 - 1, 960 160 1 1, 960 160 - 1, 960 160 1 1
    """
    rows = [row for stage in STAGES for row in stage]
    assert [f"{row.expanded} {row.out} {'1' if row.squeezed else '-'} {row.stride}" for row in rows] == [
        row.strip() for row in printed.split(",")
    ]


@pytest.mark.parametrize(
    ("channels", "factor", "expected"),
    [(16, 1.0, 16), (16, 0.5, 8), (24, 1.3, 32), (184, 0.5, 92), (72, 0.25, 20), (10, 0.25, 4)],
)
def test_channels_are_scaled_to_multiples_of_four(channels: int, factor: float, expected: int) -> None:
    assert scaled(channels, factor) == expected


def test_a_stride_one_bottleneck_of_equal_width_has_a_free_shortcut() -> None:
    block = GhostBottleneck(16, STAGES[0][0], ghost=2)
    assert list(block.shortcut.parameters()) == []
    assert isinstance(block.conv_dw, nn.Identity)


def test_a_larger_ghost_ratio_leaves_fewer_weights() -> None:
    sizes = [
        sum(parameter.numel() for parameter in factory.build(ModelConfig(name="ghostnet_050", ghost=s)).parameters())
        for s in (2, 3, 4)
    ]
    assert sizes == sorted(sizes, reverse=True)

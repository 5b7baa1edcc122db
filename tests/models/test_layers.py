import math

import pytest
import torch
from timm.layers.blur_pool import BlurPool2d
from timm.models.ghostnet import GhostModule as TimmGhostModule
from torch import nn

from models.layers import BlurPool, DropPath, GhostModule, PadShortcut


@pytest.mark.parametrize("out_channels", [1, 7, 16, 25])
@pytest.mark.parametrize("ratio", [2, 3, 4])
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 2)])
def test_a_ghost_module_gives_exactly_the_channels_asked_for(
    out_channels: int, ratio: int, kernel_size: int, stride: int
) -> None:
    module = GhostModule(6, out_channels, ratio, kernel_size, stride)
    assert module(torch.zeros(2, 6, 8, 8)).shape == (2, out_channels, 8 // stride, 8 // stride)


def test_the_cheap_operation_is_depthwise_and_costs_nine_weights_a_ghost() -> None:
    module = GhostModule(64, 256, ratio=4)
    cheap = module.cheap_operation[0]
    assert isinstance(cheap, nn.Conv2d)
    assert cheap.groups == cheap.in_channels == 64
    # 64 intrinsic maps of 64 x 1x1, 192 ghosts of one 3x3: hand-computed
    assert sum(parameter.numel() for parameter in module.parameters()) == 64 * 64 + 192 * 9


def test_each_ghost_is_made_from_one_intrinsic_map_alone() -> None:
    module = GhostModule(4, 8, ratio=2).double()
    images = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    out = module(images)
    with torch.no_grad():
        module.primary_conv[0].weight[1].mul_(2)  # type: ignore[union-attr]
    changed = [channel for channel in range(8) if not torch.equal(module(images)[:, channel], out[:, channel])]
    assert changed == [1, 5]


@pytest.mark.parametrize(("out_channels", "ratio"), [(16, 2), (25, 2), (25, 4)])
def test_a_ghost_module_equals_timm_s(out_channels: int, ratio: int) -> None:
    ours = GhostModule(6, out_channels, ratio, after=lambda channels: [nn.BatchNorm2d(channels), nn.ReLU()])
    theirs = TimmGhostModule(6, out_channels, ratio=ratio)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 6, 5, 5)
    assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("size", [2, 7, 8])
def test_blur_pool_equals_timm_s_and_has_no_weights(size: int) -> None:
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(BlurPool(3)(images), BlurPool2d(3)(images))
    assert BlurPool(3).state_dict() == {}


def test_blur_pool_keeps_a_constant() -> None:
    torch.testing.assert_close(BlurPool(2)(torch.full((1, 2, 6, 6), 3.0)), torch.full((1, 2, 3, 3), 3.0))


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(4000, 2, 3, 3))
    values = out.flatten(1)
    assert bool((values == values[:, :1]).all())
    assert {round(value, 4) for value in values[:, 0].tolist()} == {0.0, round(1 / 0.75, 4)}
    assert math.isclose(out.mean().item(), 1.0, abs_tol=0.03)  # three standard deviations of 4000 draws


def test_drop_path_does_nothing_in_evaluation() -> None:
    images = torch.randn(2, 3, 4, 4)
    assert DropPath(0.9).eval()(images) is images


def test_pad_shortcut_subsamples_and_appends_zeros() -> None:
    images = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4)
    out = PadShortcut(2, 5, stride=2)(images)
    assert out.shape == (1, 5, 2, 2)
    assert torch.equal(out[:, :2], images[:, :, ::2, ::2])
    assert not out[:, 2:].any()

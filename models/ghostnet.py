"""GhostNet 0.5x, 1.0x, 1.3x.

Attribute names are those of the authors' code, which timm keeps, so that both packages' state dicts
load. Layers start at PyTorch's defaults, as theirs do.

Reference:
    GhostNet: More Features from Cheap Operations, arXiv 1911.11907; sections and tables are its own.
    The authors' code: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py.
"""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import GhostModule


class Row(NamedTuple):
    """A G-bneck of Table 1, channels for width 1."""

    kernel: int  # not in the table but in the authors' code: 5 where MobileNetV3-Large has 5
    expanded: int  # the table's #exp
    out: int
    squeezed: bool  # the table's SE
    stride: int


# Table 1, grouped as the authors' code groups it: a stage's strided block, then the others.
STAGES = (
    (Row(3, 16, 16, False, 1),),  # 112 x 112
    (Row(3, 48, 24, False, 2),),
    (Row(3, 72, 24, False, 1),),  # 56 x 56
    (Row(5, 72, 40, True, 2),),
    (Row(5, 120, 40, True, 1),),  # 28 x 28
    (Row(3, 240, 80, False, 2),),
    (
        Row(3, 200, 80, False, 1),  # 14 x 14
        Row(3, 184, 80, False, 1),
        Row(3, 184, 80, False, 1),
        Row(3, 480, 112, True, 1),
        Row(3, 672, 112, True, 1),
    ),
    (Row(5, 672, 160, True, 2),),
    (
        Row(5, 960, 160, False, 1),  # 7 x 7
        Row(5, 960, 160, True, 1),
        Row(5, 960, 160, False, 1),
        Row(5, 960, 160, True, 1),
    ),
)
HEAD = 1280  # Table 1; the width leaves it alone, as in the authors' code


def build(**settings: Any) -> "GhostNet":
    return GhostNet(**settings)


class GhostNet(nn.Module):
    """Images (N, in_channels, H, W) float -> logits (N, num_classes).

    Args:
        num_classes: Length of a row of logits.
        in_channels: Channels of an image.
        width: Factor on the channels of Table 1 (section 3.3, width multiplier).
        ghost: Ratio s of every Ghost module, 2 in Table 1 (section 3.3).
        dropout: Before the classifier, 0.2 in the authors' code.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        width: float,
        ghost: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        channels = scaled(16, width)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        last = scaled(STAGES[-1][-1].expanded, width)  # 960 in Table 1
        stages = ghost_stages(channels, width, ghost)
        channels = scaled(STAGES[-1][-1].out, width)
        self.blocks = nn.Sequential(*stages, nn.Sequential(ConvBnAct(channels, last)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = nn.Conv2d(last, HEAD, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(HEAD, num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:  # noqa: ARG002 - as timm calls it
        """Stem and blocks, from front to back, for timm's groups of parameters."""
        return {"stem": "^conv1|bn1", "blocks": [(r"^blocks\.(\d+)\.(\d+)", None), ("conv_head", (99999,))]}

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 3, 224, 224) -> (N, 16, 112, 112)
        x = self.blocks(x)  # -> (N, 960, 7, 7)
        x = self.avgpool(x)  # -> (N, 960, 1, 1)
        x = self.relu(self.conv_head(x)).flatten(1)  # -> (N, 1280); no BatchNorm, as the authors
        return self.fc(self.dropout(x))


def ghost_stages(channels: int, width: float, ghost: int) -> list[nn.Module]:
    stages: list[nn.Module] = []
    for rows in STAGES:
        blocks: list[nn.Module] = []
        for row in rows:
            row = row._replace(expanded=scaled(row.expanded, width), out=scaled(row.out, width))
            blocks.append(GhostBottleneck(channels, row, ghost))
            channels = row.out
        stages.append(nn.Sequential(*blocks))
    return stages


class GhostBottleneck(nn.Module):
    """A Ghost module that expands, a depthwise stride, squeeze-and-excitation, one that reduces.

    Reference:
        Section 3.2, Figure 3. No ReLU after the second Ghost module.
    """

    def __init__(self, in_channels: int, row: Row, ghost: int) -> None:
        super().__init__()
        expanded = row.expanded
        self.ghost1 = GhostModule(in_channels, expanded, ghost, after=norm_relu)
        strided = row.stride > 1
        self.conv_dw = depthwise(expanded, row) if strided else nn.Identity()
        self.bn_dw = nn.BatchNorm2d(expanded) if strided else nn.Identity()
        self.se = SqueezeExcite(expanded) if row.squeezed else nn.Identity()
        self.ghost2 = GhostModule(expanded, row.out, ghost, after=norm)
        self.shortcut = nn.Sequential()
        if strided or in_channels != row.out:
            self.shortcut = nn.Sequential(
                depthwise(in_channels, row),
                nn.BatchNorm2d(in_channels),
                nn.Conv2d(in_channels, row.out, 1, bias=False),
                nn.BatchNorm2d(row.out),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.ghost1(x)
        out = self.bn_dw(self.conv_dw(out))
        out = self.ghost2(self.se(out))
        out += self.shortcut(x)
        return out


class SqueezeExcite(nn.Module):
    """Weighs each channel by a gate computed from all channels' means: (N, C, H, W) -> the same.

    Reference:
        Squeeze-and-Excitation Networks, arXiv 1709.01507, as MobileNetV3 has it (arXiv 1905.02244,
        section 5.3): a quarter of the channels in between, relu6(x + 3) / 6 as gate.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = scaled(channels, 0.25)
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.relu = nn.ReLU(inplace=True)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=True)  # (N, C, H, W) -> (N, C, 1, 1)
        gate = self.conv_expand(self.relu(self.conv_reduce(gate)))
        return x * F.hardsigmoid(gate)


class ConvBnAct(nn.Module):
    """1x1 convolution, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn1(self.conv(x)))


def norm_relu(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)]


def depthwise(channels: int, row: Row) -> nn.Conv2d:
    padding = row.kernel // 2
    return nn.Conv2d(channels, channels, row.kernel, row.stride, padding, groups=channels, bias=False)


def scaled(channels: int, factor: float) -> int:
    """The nearest multiple of 4 to channels * factor, though never below 0.9 of it.

    Reference:
        `_make_divisible(v, 4)` of the authors' code.
    """
    exact = channels * factor
    rounded = max(4, int(exact + 2) // 4 * 4)
    return rounded if rounded >= 0.9 * exact else rounded + 4

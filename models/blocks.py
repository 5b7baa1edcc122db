"""The blocks of the ResNet family: plain, basic and bottleneck, with the shortcuts between shapes."""

from typing import Any

from torch import Tensor, nn

from models.design import Design
from models.layers import BlurPool, BlurredConv2d, DropPath, GhostModule, PadShortcut

LEAST_BLURRED = 16  # ffcv-imagenet and Composer leave convolutions of fewer channels alone: the stem's


class PlainBlock(nn.Module):
    """Two 3x3 convolutions without a shortcut: section 4.1 shows the degradation with them."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int, _drop_path: float, design: Design) -> None:
        super().__init__()
        self.conv1 = convolution(inplanes, planes, 3, stride, design)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = convolution(planes, planes, 3, 1, design)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (Figure 5, left)."""

    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int, drop_path: float, design: Design) -> None:
        super().__init__()
        blurred = design.blur_pool == "after" and stride > 1
        self.conv1 = convolution(inplanes, planes, 3, 1 if blurred else stride, design)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.blur = BlurPool(planes) if blurred else nn.Identity()
        self.conv2 = convolution(planes, planes, 3, 1, design)
        self.bn2 = nn.BatchNorm2d(planes)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.downsample = shortcut(inplanes, planes, stride, design)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.blur(out)  # after the ReLU: 1904.11486 section 3.2
        out = self.bn2(self.conv2(out))
        out = self.drop_path(out)
        out += self.downsample(x)  # equation (1); in place: a whole map less to write
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1 to reduce, 3x3, 1x1 to restore, and a shortcut.

    Reference:
        Figure 5, right; with groups, ResNeXt's Figure 3 (c).
    """

    expansion = 4  # Table 1: 64 -> 256, 128 -> 512, 256 -> 1024, 512 -> 2048

    def __init__(self, inplanes: int, planes: int, stride: int, drop_path: float, design: Design) -> None:
        super().__init__()
        width = planes * design.base_width // 64 * design.groups  # 1611.05431 Table 1: 128 = 32x4
        outplanes = planes * self.expansion
        stride1, stride2 = (stride, 1) if design.stride_in_1x1 else (1, stride)
        blurred = design.blur_pool == "after" and stride2 > 1
        self.conv1 = convolution(inplanes, width, 1, stride1, design)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, 1 if blurred else stride2, design, design.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.blur = BlurPool(width) if blurred else nn.Identity()
        self.conv3 = convolution(width, outplanes, 1, 1, design)
        self.bn3 = nn.BatchNorm2d(outplanes)
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.downsample = shortcut(inplanes, outplanes, stride, design)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.blur(out)  # after the ReLU: 1904.11486 section 3.2
        out = self.bn3(self.conv3(out))
        out = self.drop_path(out)
        out += self.downsample(x)  # equation (1); in place: a whole map less to write
        return self.relu(out)


BLOCKS = {"plain": PlainBlock, "basic": BasicBlock, "bottleneck": Bottleneck}


def shortcut(inplanes: int, outplanes: int, stride: int, design: Design) -> nn.Module:
    """Section 3.3: the identity where shapes agree (not in option C), else zeros or a projection."""
    if stride == 1 and inplanes == outplanes and design.shortcut != "C":
        return nn.Identity()
    if design.shortcut == "A":
        return PadShortcut(inplanes, outplanes, stride)
    norm = nn.BatchNorm2d(outplanes)
    if not design.avg_down:
        return nn.Sequential(convolution(inplanes, outplanes, 1, stride, design), norm)
    pool = nn.Identity()
    if stride > 1:
        # 1812.01187 section 4.2: a strided 1x1 ignores three pixels of four. ceil_mode keeps an odd map's last row and
        # column, as the strided 1x1 and timm do.
        pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(pool, convolution(inplanes, outplanes, 1, 1, design), norm)


def convolution(
    inplanes: int, outplanes: int, kernel_size: int, stride: int, design: Design, groups: int = 1
) -> nn.Module:
    """A convolution without bias (BatchNorm follows), or the Ghost module in its place."""
    if design.ghost and kernel_size in design.ghost_kernels and groups == 1:
        return GhostModule(inplanes, outplanes, design.ghost, kernel_size, stride)
    settings: dict[str, Any] = {"stride": stride, "padding": kernel_size // 2, "groups": groups, "bias": False}
    if design.blur_pool == "before" and stride > 1 and inplanes >= LEAST_BLURRED:
        return BlurredConv2d(inplanes, outplanes, kernel_size, **settings)
    return nn.Conv2d(inplanes, outplanes, kernel_size, **settings)

"""Layers that several networks share."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def no_layers(_channels: int) -> list[nn.Module]:
    return []


class GhostModule(nn.Module):
    """Convolves one channel in `ratio` and makes the others from it by cheap depthwise operations.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, exactly, also where `ratio` does not divide them.
        ratio: The paper's s, at least 2.
        kernel_size: Of the primary convolution, odd; the map keeps its size apart from the stride.
        stride: Of the primary convolution.
        after: What follows each of the two parts, given its channels (GhostNet: BatchNorm and ReLU).

    Reference:
        GhostNet, arXiv 1911.11907, section 3.1, Figure 1 (b), equations (3) and (4).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ratio: int = 2,
        kernel_size: int = 1,
        stride: int = 1,
        after: Callable[[int], list[nn.Module]] = no_layers,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        intrinsic = math.ceil(out_channels / ratio)  # m = n / s
        ghosts = intrinsic * (ratio - 1)  # m (s - 1)
        self.primary_conv = nn.Sequential(
            nn.Conv2d(in_channels, intrinsic, kernel_size, stride, kernel_size // 2, bias=False),
            *after(intrinsic),
        )
        self.cheap_operation = nn.Sequential(
            # d = 3: the best kernel of Table 2. groups: each ghost comes from one intrinsic map alone (equation 4).
            nn.Conv2d(intrinsic, ghosts, 3, padding=1, groups=intrinsic, bias=False),
            *after(ghosts),
        )

    def forward(self, x: Tensor) -> Tensor:
        intrinsic = self.primary_conv(x)
        ghosts = self.cheap_operation(intrinsic)
        return torch.cat([intrinsic, ghosts], dim=1)[:, : self.out_channels]


class BlurPool(nn.Module):
    """Low-pass filter, then one pixel in `stride`: (N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride)).

    Args:
        channels: C.
        stride: 2 to halve the map; 1 to filter alone.
        padding: How the border is continued: reflect (H and W at least 2), or constant for zeros.

    Reference:
        Making Convolutional Networks Shift-Invariant Again, arXiv 1904.11486, section 3.2 (Triangle-3).
    """

    def __init__(self, channels: int, stride: int = 2, padding: str = "reflect") -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        row = torch.tensor([1.0, 2.0, 1.0]) / 4  # Triangle-3, the filter that the fast recipes use
        kernel = torch.outer(row, row).expand(channels, 1, 3, 3).clone()
        # Not persistent: a constant has no place in a state dict, and timm's networks load as they are.
        self.register_buffer("kernel", kernel, persistent=False)
        self.kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode=self.padding)
        return F.conv2d(padded, self.kernel, stride=self.stride, groups=x.shape[1])


class BlurredConv2d(nn.Conv2d):
    """A convolution that sees a filtered map: its stride then aliases less. Weights are named as without the filter.

    Reference:
        BlurPoolConv2d of ffcv-imagenet (train_imagenet.py), which filters at full size and pads with zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **settings: Any) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **settings)
        self.blur = BlurPool(in_channels, stride=1, padding="constant")

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.blur(input))


class DropPath(nn.Module):
    """Stochastic depth: in training, zeroes a sample's residual branch with chance `rate`, scales the others up.

    Per sample and scaled in training as in timm, where the paper drops a whole mini-batch's branch and scales in
    evaluation: the expectation is the same, and evaluation costs nothing.

    Reference:
        Deep Networks with Stochastic Depth, arXiv 1603.09382, equations (2) and (5).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


class PadShortcut(nn.Module):
    """Shortcut without parameters: (N, C, H, W) -> (N, out_channels, H/stride, W/stride), new channels zero.

    The paper leaves open where the zeros go; they follow the old channels, as in the authors' Torch code.

    Reference:
        arXiv 1512.03385, section 3.3 (option A) and section 4.2.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.new_channels))

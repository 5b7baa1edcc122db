"""Inception-v3, its modules named by the paper's figures.

Attribute names, the order of construction and the initialisation are torchvision's, which has them from slim, so that
its state dicts load and the same seed gives the same weights.

Reference:
    Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567; sections, tables and figures are its
    own. slim (tensorflow/models, research/slim/nets/inception_v3.py) is the authors' code and settles what the paper
    leaves open: every width inside a module, BatchNorm's epsilon, the initialisation.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AUX_LOSS_WEIGHT = 0.4  # weight of the auxiliary head's loss in training (slim, train_image_classifier.py)
Size = int | tuple[int, int]


class InceptionOutputs(NamedTuple):
    """What the network returns in training with its auxiliary head; each (N, num_classes)."""

    logits: Tensor
    aux_logits: Tensor


def build(**settings: Any) -> "Inception3":
    return Inception3(**settings)


class Inception3(nn.Module):
    """Images (N, in_channels, H, W) float -> logits (N, num_classes), in training both heads'.

    Args:
        num_classes: Length of a row of logits.
        in_channels: Of an image.
        aux_logits: Whether to have the auxiliary head; training then needs images of 299 px.
        dropout: Before the classifier; 0.5 in torchvision, 0.2 in slim.
    """

    def __init__(self, num_classes: int, in_channels: int, aux_logits: bool = True, dropout: float = 0.5) -> None:
        super().__init__()
        # Table 1's stem. Where the table has 3x3 to 80 and a strided 3x3 to 192, the authors' code and all public
        # weights have 1x1 to 80, 3x3 to 192 and a second pool.
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)  # "conv padded"
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        # Table 1: 3 x Figure 5 at 35x35, 5 x Figure 6 at 17x17, 2 x Figure 7 at 8x8; the first of each further grid
        # is the reduction to it (Figure 10).
        self.Mixed_5b = InceptionFigure5(192, pool_features=32)
        self.Mixed_5c = InceptionFigure5(256, pool_features=64)
        self.Mixed_5d = InceptionFigure5(288, pool_features=64)
        self.Mixed_6a = GridReduction35(288)
        self.Mixed_6b = InceptionFigure6(768, channels_7x7=128)
        self.Mixed_6c = InceptionFigure6(768, channels_7x7=160)
        self.Mixed_6d = InceptionFigure6(768, channels_7x7=160)
        self.Mixed_6e = InceptionFigure6(768, channels_7x7=192)
        self.AuxLogits = AuxiliaryHead(768, num_classes) if aux_logits else None
        self.Mixed_7a = GridReduction17(768)
        self.Mixed_7b = InceptionFigure7(1280)
        self.Mixed_7c = InceptionFigure7(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        initialise(self)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:  # noqa: ARG002 - as timm calls it
        """Stem and blocks, from front to back, for timm's groups of parameters."""
        blocks = (name for name, _ in self.named_children() if name.startswith("Mixed"))
        return {"stem": "^Conv2d", "blocks": [(name, (place,)) for place, name in enumerate(blocks)]}

    def forward(self, x: Tensor) -> Tensor | InceptionOutputs:
        x = self.Conv2d_1a_3x3(x)  # (N, 3, 299, 299) -> (N, 32, 149, 149)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(x))  # -> (N, 64, 147, 147)
        x = self.maxpool1(x)  # -> (N, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # -> (N, 192, 71, 71)
        x = self.maxpool2(x)  # -> (N, 192, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # -> (N, 288, 35, 35)
        x = self.Mixed_6a(x)  # -> (N, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        aux_logits = self.AuxLogits(x) if self.training and self.AuxLogits is not None else None
        x = self.Mixed_7a(x)  # -> (N, 1280, 8, 8)
        x = self.Mixed_7c(self.Mixed_7b(x))  # -> (N, 2048, 8, 8)
        x = self.avgpool(x).flatten(1)  # -> (N, 2048)
        logits = self.fc(self.dropout(x))
        return logits if aux_logits is None else InceptionOutputs(logits, aux_logits)


class BasicConv2d(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, *, stride: int = 1, padding: Size = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)  # slim's batch_norm_epsilon
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class InceptionFigure5(nn.Module):
    """35x35: 1x1; 5x5, which the figure has not but the authors' code keeps; two 3x3 in place of a 5x5; pool."""

    def __init__(self, in_channels: int, pool_features: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 64, 1)
        self.branch5x5_1 = BasicConv2d(in_channels, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(in_channels, pool_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch1x1 = self.branch1x1(x)
        branch5x5 = self.branch5x5_2(self.branch5x5_1(x))
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branch_pool = self.branch_pool(average3x3(x))
        # 64 + 64 + 96 + pool_features channels
        return torch.cat([branch1x1, branch5x5, branch3x3dbl, branch_pool], 1)


class GridReduction35(nn.Module):
    """35x35 -> 17x17 (Figure 10): strided 3x3; two 3x3, the last strided; max pool."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branch3x3 = self.branch3x3(x)
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branch_pool = F.max_pool2d(x, 3, stride=2)
        # 384 + 96 + 288 = 768 channels
        return torch.cat([branch3x3, branch3x3dbl, branch_pool], 1)


class InceptionFigure6(nn.Module):
    """17x17: 1x1; 7x7 as 1x7 and 7x1; two 7x7 so; pool (n = 7, section 3.2)."""

    def __init__(self, in_channels: int, channels_7x7: int) -> None:
        super().__init__()
        width = channels_7x7
        self.branch1x1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7_1 = BasicConv2d(in_channels, width, 1)
        self.branch7x7_2 = BasicConv2d(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = BasicConv2d(in_channels, width, 1)
        self.branch7x7dbl_2 = BasicConv2d(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = BasicConv2d(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = BasicConv2d(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = BasicConv2d(width, 192, (1, 7), padding=(0, 3))
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch1x1 = self.branch1x1(x)
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch7x7dbl = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branch7x7dbl = self.branch7x7dbl_5(self.branch7x7dbl_4(branch7x7dbl))
        branch_pool = self.branch_pool(average3x3(x))
        # 4 x 192 = 768 channels
        return torch.cat([branch1x1, branch7x7, branch7x7dbl, branch_pool], 1)


class GridReduction17(nn.Module):
    """17x17 -> 8x8 (Figure 10): strided 3x3; 7x7 as 1x7 and 7x1, then strided 3x3; max pool."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(in_channels, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branch3x3 = self.branch3x3_2(self.branch3x3_1(x))
        branch7x7x3 = self.branch7x7x3_2(self.branch7x7x3_1(x))
        branch7x7x3 = self.branch7x7x3_4(self.branch7x7x3_3(branch7x7x3))
        # 320 + 192 + 768 = 1280 channels
        return torch.cat([branch3x3, branch7x7x3, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionFigure7(nn.Module):
    """8x8, with wide outputs: 1x1; 1x3 beside 3x1; 3x3, then the same pair; pool (section 6)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(in_channels, 320, 1)
        self.branch3x3_1 = BasicConv2d(in_channels, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch1x1 = self.branch1x1(x)
        branch3x3 = self.branch3x3_1(x)
        branch3x3 = [self.branch3x3_2a(branch3x3), self.branch3x3_2b(branch3x3)]
        branch3x3dbl = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branch3x3dbl = [self.branch3x3dbl_3a(branch3x3dbl), self.branch3x3dbl_3b(branch3x3dbl)]
        branch_pool = self.branch_pool(average3x3(x))
        # 320 + 2 x 384 + 2 x 384 + 192 = 2048 channels
        return torch.cat([branch1x1, *branch3x3, *branch3x3dbl, branch_pool], 1)


class AuxiliaryHead(nn.Module):
    """Classifies the 17x17 grid (section 4, Figure 8), its convolutions with BatchNorm."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = BasicConv2d(in_channels, 128, 1)
        self.conv1 = BasicConv2d(128, 768, 5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 5, stride=3)  # (N, 768, 17, 17) -> (N, 768, 5, 5)
        x = self.conv1(self.conv0(x))  # -> (N, 768, 1, 1)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def average3x3(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1)


def initialise(network: Inception3) -> None:
    """Draws from a normal distribution of 0.1, of 0.001 for the auxiliary classifier (slim's values).

    Torchvision does not give the auxiliary 5x5 slim's 0.01, and so we do not: BatchNorm removes the scale anyway.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.001 if name == "AuxLogits.fc" else 0.1, a=-2, b=2)

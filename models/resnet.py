"""ResNet, ResNeXt, plain networks and their CIFAR forms: one class, which a `Design` distinguishes.

Attribute names and the order of construction are torchvision's, so that its state dicts load and the
same seed gives the same weights.

Reference:
    Deep Residual Learning for Image Recognition, arXiv 1512.03385 (sections and tables without a
    number are its own); ResNeXt, arXiv 1611.05431.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from models.blocks import BLOCKS, BasicBlock, Bottleneck
from models.design import Design
from models.layers import BlurPool


def build(**settings: Any) -> "ResNet":
    return ResNet(Design(**settings))


class ResNet(nn.Module):
    """Images (N, in_channels, H, W) float -> logits (N, num_classes)."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.conv1 = stem_convolution(design)
        self.bn1 = nn.BatchNorm2d(design.planes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = stem_pool(design)
        stages = [nn.Sequential(*blocks) for blocks in stage_blocks(design)]
        self.layer1, self.layer2, self.layer3 = stages[:3]
        self.layer4 = stages[3] if len(stages) == 4 else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        features = design.planes * 2 ** (len(stages) - 1) * BLOCKS[design.block].expansion
        self.fc = nn.Linear(features, design.num_classes)
        initialise(self, zero_last=design.zero_init_residual)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:  # noqa: ARG002 - as timm calls it
        """Stem and blocks, from front to back, for timm's groups of parameters."""
        return {"stem": "^conv1|bn1", "blocks": r"^layer(\d+)\.(\d+)"}

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 3, 224, 224) -> (N, 64, 112, 112)
        x = self.maxpool(x)  # -> (N, 64, 56, 56)
        x = self.layer1(x)  # -> (N, 64 e, 56, 56), e = 1 for basic blocks, 4 for bottlenecks
        x = self.layer2(x)  # -> (N, 128 e, 28, 28)
        x = self.layer3(x)  # -> (N, 256 e, 14, 14)
        x = self.layer4(x)  # -> (N, 512 e, 7, 7)
        x = self.avgpool(x).flatten(1)  # -> (N, 512 e)
        return self.fc(x)


def stem_convolution(design: Design) -> nn.Module:
    in_channels, planes = design.in_channels, design.planes
    if design.small_images:
        return nn.Conv2d(in_channels, planes, 3, padding=1, bias=False)  # section 4.2
    if not design.deep_stem:
        return nn.Conv2d(in_channels, planes, 7, stride=2, padding=3, bias=False)  # Table 1
    width = planes // 2  # 1812.01187 section 4.2: 32, 32, then 64 channels
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, planes, 3, padding=1, bias=False),
    )


def stem_pool(design: Design) -> nn.Module:
    if design.small_images:
        return nn.Identity()
    if design.blur_pool == "after":
        # 1904.11486 section 3.2: the maximum at every pixel, then filter and subsample.
        return nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool(design.planes))
    return nn.MaxPool2d(3, stride=2, padding=1)  # Table 1


def stage_blocks(design: Design) -> Iterator[list[nn.Module]]:
    """The blocks of one stage after another; every stage but the first halves the map (Table 1)."""
    block = BLOCKS[design.block]
    inplanes, built, total = design.planes, 0, sum(design.depths)
    for stage, depth in enumerate(design.depths):
        planes = design.planes * 2**stage
        blocks: list[nn.Module] = []
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            built += 1
            drop_path = design.drop_path * built / total  # linear decay: 1603.09382 equation (4)
            blocks.append(block(inplanes, planes, stride, drop_path, design))
            inplanes = planes * block.expansion
        yield blocks


def initialise(network: ResNet, *, zero_last: bool) -> None:
    """He's initialisation (section 3.4 cites 1502.01852), fan-out as in the Torch code.

    The order of the random draws is torchvision's, so that the same seed gives the same weights and
    two trainings can be compared step by step.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # of a Ghost module's depthwise convolution this counts all its channels as fan-out, as the authors' code
            # does; BatchNorm takes the scale out again
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif zero_last and isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)  # 1706.02677 section 5.1
        elif zero_last and isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)

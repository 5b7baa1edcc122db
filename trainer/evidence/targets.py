"""What the recipes aim at: the published figures that a report judges a run by. Standard library only."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

DataSet = Literal["imagenet-1k", "cifar10"]

LEAST_TOLERANCE = 0.3  # less would be finer than what decoders and resizing do
USUAL_SPREAD: Mapping[DataSet, float] = {"imagenet-1k": 0.1, "cifar10": 0.16}  # the latter: 1512.03385, Table 6


@dataclass(frozen=True, slots=True)
class Target:
    """A published accuracy, and what it is of."""

    by: str
    """Whose figure it is: paper, torchvision, timm, NVIDIA."""
    top1: float
    """Percent."""
    top5: float | None
    """Percent; None where the source does not give it."""
    epochs: int
    """Passes over the training set. Of an aim, the recipe's: papers that say "up to" or nothing leave it open."""
    source: str
    """Table and row, or address."""
    _: KW_ONLY
    protocol: str = "center-224/256"
    """A name that `trainer.evaluation.protocol.parse` reads, in its full form."""
    data: DataSet = "imagenet-1k"
    """What was trained and evaluated on."""
    spread: float | None = None
    """Standard deviation over seeds, points of top-1; None where the source gives one run."""
    reading: float = 0.0
    """How far off the figure may have been read from a curve, points."""
    hours: str = ""
    """How long it took on what, where the source says."""

    @property
    def tolerance(self) -> float:
        """How far below it a single run may end and still reproduce it, points of top-1: three standard deviations."""
        return round(max(LEAST_TOLERANCE, 3 * (self.spread or USUAL_SPREAD[self.data])) + self.reading, 2)

    @property
    def figure(self) -> str:
        """Its top-1 for tables, percent, with its deviation where there is one."""
        return f"{self.top1:.2f}" if self.spread is None else f"{self.top1:.2f} +- {self.spread:.2f}"


def _cifar(top1: float, source: str, *, epochs: int = 164, spread: float | None = None, reading: float = 0.0) -> Target:
    return Target(
        *("paper", top1, None, epochs, source), protocol="center-32/32", data="cifar10", spread=spread, reading=reading
    )


_TEN = "ten-crop-224/256"
_V2 = "center-224/232"  # torchvision's newer recipe
_RSB = "center-224/235+bicubic"  # timm: 224 px are 0.95 of the resized side, rounded down
_RSB_MM = "center-224/236+bicubic"  # mmpretrain rounds up
_FFCV = "center-256/292+flip"
_BICUBIC = "center-224/256+bicubic"

_RESNET = "1512.03385, Table"
_RESNEXT = "1611.05431, Table"
_GHOST = "1911.11907, Table"
_STRIKES = "2110.00476, Table 2, procedure"
_TORCHVISION = "torchvision, weights' metadata:"
_FB = "github.com/facebookarchive/fb.resnet.torch, README"
_MM = "github.com/open-mmlab/mmpretrain, configs/resnet/README.md: rsb-"
_DGX = "github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets, resnet50v1.5/README.md:"
_DGX_NEXT = "github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets, resnext101-32x4d/README.md:"
_DEIT = "github.com/facebookresearch/deit, README"
_FAST = "github.com/libffcv/ffcv-imagenet, README: rn50_"

TARGETS: Mapping[str, tuple[Target, ...]] = {
    "resnet18": (
        Target("torchvision", 69.758, 89.078, 90, f"{_TORCHVISION} ResNet18 V1"),
        Target("fb.resnet.torch", 69.59, 89.24, 90, _FB),
        Target("paper", 72.12, None, 120, f"{_RESNET} 2, ResNet-18 (option A)", protocol=_TEN),
    ),
    "resnet34": (
        Target("torchvision", 73.314, 91.42, 90, f"{_TORCHVISION} ResNet34 V1"),
        Target("fb.resnet.torch", 73.27, 91.26, 90, _FB),
        Target("paper", 75.48, 92.54, 120, f"{_RESNET} 3, ResNet-34 B", protocol=_TEN),
    ),
    "resnet50": (
        Target("torchvision", 76.13, 92.862, 90, f"{_TORCHVISION} ResNet50 V1"),
        Target("torchvision's users", 75.58, 92.71, 90, "github.com/pytorch/vision/issues/5593", spread=0.26),
        Target("fb.resnet.torch", 75.99, 92.98, 90, _FB),
        Target("paper", 77.15, 93.29, 120, f"{_RESNET} 3, ResNet-50 (v1)", protocol=_TEN),
    ),
    "resnet101": (
        Target("torchvision", 77.374, 93.546, 90, f"{_TORCHVISION} ResNet101 V1"),
        Target("fb.resnet.torch", 77.56, 93.79, 90, _FB),
        Target("paper", 78.25, 93.95, 120, f"{_RESNET} 3, ResNet-101 (v1)", protocol=_TEN),
    ),
    "resnet152": (
        Target("torchvision", 78.312, 94.046, 90, f"{_TORCHVISION} ResNet152 V1"),
        Target("paper", 78.57, 94.29, 120, f"{_RESNET} 3, ResNet-152 (v1)", protocol=_TEN),
    ),
    "resnet50_v1": (
        Target("paper's author", 75.3, 92.2, 90, "github.com/KaimingHe/deep-residual-networks, README: 1-crop"),
        Target("paper", 77.15, 93.29, 120, f"{_RESNET} 3, ResNet-50", protocol=_TEN),
    ),
    "plain18": (Target("paper", 72.06, None, 90, f"{_RESNET} 2, plain, 18 layers", protocol=_TEN),),
    "plain34": (Target("paper", 71.46, 89.98, 90, f"{_RESNET}s 2 and 3, plain-34", protocol=_TEN),),
    "resnext50_32x4d": (
        Target("paper", 77.8, None, 100, f"{_RESNEXT} 3, ResNeXt-50 32x4d"),
        Target("torchvision", 77.618, 93.698, 100, f"{_TORCHVISION} ResNeXt50_32X4D V1"),
        Target("torchvision", 81.198, 95.34, 600, f"{_TORCHVISION} ResNeXt50_32X4D V2", protocol=_V2),
    ),
    "resnext101_32x4d": (
        Target("paper", 78.8, 94.4, 100, f"{_RESNEXT} 4, ResNeXt-101 32x4d"),
        Target("NVIDIA", 79.47, None, 90, f"{_DGX_NEXT} 8 A100, AMP", spread=0.03),
        Target("NVIDIA", 80.19, None, 250, f"{_DGX_NEXT} 8 A100, AMP", spread=0.08),
    ),
    "resnext101_64x4d": (
        Target("paper", 79.6, 94.7, 100, f"{_RESNEXT} 4, ResNeXt-101 64x4d", hours="10 days on 8 M40"),
        Target("torchvision", 83.246, 96.454, 600, f"{_TORCHVISION} ResNeXt101_64X4D V1", protocol=_V2),
    ),
    "inception_v3": (
        Target("paper", 78.8, 94.4, 100, "1512.00567, Table 3; 1611.05431, Table 5", protocol="center-299/341"),
        Target("Google", 78.1, None, 170, "cloud.google.com/tpu/docs/inception-v3-advanced", protocol="center-299/341"),
        Target("torchvision", 77.294, 93.45, 100, f"{_TORCHVISION} Inception_V3 V1, ported", protocol="center-299/342"),
    ),
    "ghostnet_100": (
        Target("paper", 73.9, 91.4, 400, f"{_GHOST} 7, GhostNet 1.0x"),
        Target("a user", 73.4, None, 360, "github.com/iamhankai/ghostnet.pytorch/issues/3"),
        Target("mindcv", 73.78, 91.66, 600, "github.com/mindspore-lab/mindcv, configs/ghostnet/README.md"),
    ),
    "ghost_resnet50": (Target("paper", 75.0, 92.3, 90, f"{_GHOST} 6, Ghost-ResNet-50 (s=2)"),),
    "resnet50_a1": (
        Target("timm", 80.4, None, 600, f"{_STRIKES} A1", protocol=_RSB, hours="110 hours on 4 V100 32 GB"),
        Target("mmpretrain", 80.12, 94.78, 600, f"{_MM}a1", protocol=_RSB_MM),
    ),
    "resnet50_a2": (
        Target("timm", 79.8, None, 300, f"{_STRIKES} A2", protocol=_RSB),
        Target("mmpretrain", 79.55, 94.37, 300, f"{_MM}a2", protocol=_RSB_MM),
    ),
    "resnet50_a3": (
        Target("timm", 78.1, None, 100, f"{_STRIKES} A3", protocol=_RSB),
        Target("mmpretrain", 78.3, 93.8, 100, f"{_MM}a3", protocol=_RSB_MM),
    ),
    "deit_s": (Target("authors", 79.9, 95.0, 300, f"{_DEIT}_deit.md: DeiT-small", protocol=_BICUBIC),),
    "deit3_s": (Target("authors", 81.4, None, 800, f"{_DEIT}_revenge.md: ViT-S", protocol="center-224/224+bicubic"),),
    "vit_s16_90": (
        Target("paper", 76.5, None, 90, "2205.01580, Table 1, our improvements", hours="7 hours on a TPU v3-8"),
    ),
    "swin_t": (Target("paper", 81.3, None, 300, "2103.14030, Table 1a, Swin-T", protocol=_BICUBIC),),
    "convnext_t": (Target("paper", 82.1, None, 300, "2201.03545, Table 1, ConvNeXt-T", protocol=_BICUBIC),),
    "resnet50_v2": (Target("torchvision", 80.858, 95.434, 600, f"{_TORCHVISION} ResNet50 V2", protocol=_V2),),
    "resnet50_nvidia": (
        Target("NVIDIA", 77.12, None, 90, f"{_DGX} 8 A100, AMP", spread=0.11, hours="about 3 hours on 8 A100"),
        Target("NVIDIA", 76.88, None, 90, f"{_DGX} 8 V100, AMP", spread=0.16),
    ),
    "resnet50_nvidia_250": (
        Target("NVIDIA", 78.43, None, 250, f"{_DGX} 8 A100, AMP", spread=0.11),
        Target("NVIDIA", 78.25, None, 250, f"{_DGX} 8 V100, AMP", spread=0.12),
    ),
    "resnet50_fast16": (
        Target("ffcv", 73.8, 90.8, 16, f"{_FAST}16_epochs", protocol=_FFCV, hours="14.9 minutes on 8 A100"),
    ),
    "resnet50_fast32": (
        Target("ffcv", 76.6, 92.7, 32, f"{_FAST}32_epochs", protocol=_FFCV, hours="28.7 minutes on 8 A100"),
    ),
    "resnet50_fast88": (
        Target("ffcv", 78.4, 94.1, 88, f"{_FAST}88_epochs", protocol=_FFCV, hours="77.2 minutes on 8 A100"),
    ),
    "cifar_resnet20": (_cifar(91.25, f"{_RESNET} 6, ResNet, 20 layers"),),
    "cifar_resnet32": (_cifar(92.49, f"{_RESNET} 6, ResNet, 32 layers"),),
    "cifar_resnet44": (_cifar(92.83, f"{_RESNET} 6, ResNet, 44 layers"),),
    "cifar_resnet56": (_cifar(93.03, f"{_RESNET} 6, ResNet, 56 layers"),),
    "cifar_resnet110": (
        _cifar(93.39, f"{_RESNET} 6, ResNet, 110 layers: mean of 5 runs, the best of which 93.57", spread=0.16),
    ),
    "cifar_plain20": (_cifar(91.0, "1512.03385, Figure 6, left: plain-20, read off the curve", reading=0.5),),
    "cifar_plain56": (_cifar(87.0, "1512.03385, Figure 6, left: plain-56, read off the curve", reading=0.5),),
    "cifar_resnext29_8x64d": (_cifar(96.35, f"{_RESNEXT} 7, ResNeXt-29, 8x64d: mean of 10 runs", epochs=300),),
}
"""By the name of a recipe; the first is what the recipe aims at, the others are shown beside it."""

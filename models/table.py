"""The networks, one row a name: how it is built, what it takes, and where its figures come from. No torch here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What is known of a network without building it."""

    module: str
    """The module whose `build(**settings)` returns the network; empty where `build` does."""

    build: Callable[..., Any] | None = None
    """A user's function, or class, of a network that is not ours."""

    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """Arguments of `build` that make this network of its family; the options of a `ModelConfig` go over them."""

    options: tuple[str, ...]
    """Fields of `ModelConfig` that the network takes besides num_classes and in_channels."""

    paper: str
    """arXiv number, and the table or section that describes the network."""

    parameters: float | None = None
    """As the paper prints it, with num_classes as below; None where it is silent."""

    flops: float | None = None
    """Multiply-adds for one image of image_size, as the paper prints them; None where it is silent."""

    reference: str | None = None
    """The same network in a public package: a name that `factory.build` takes."""

    twin: str | None = None
    """Where no package has it whole: the function of `models/reference.py` that makes it from a package's parts."""

    image_size: int = 224
    """Side of the images of the paper's evaluation, pixels."""

    min_size: int = 32
    """Least side of an image, pixels: the total stride, or what unpadded convolutions need."""

    min_sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Larger least sides that an option, unless it is off, brings in training."""

    num_classes: int = 1000
    """Classes of the paper's data set."""


def _basic(*depths: int, **more: object) -> dict[str, object]:
    return {"block": "basic", "depths": depths, **more}


def _plain(*depths: int, **more: object) -> dict[str, object]:
    return {"block": "plain", "depths": depths, **more}


def _bottleneck(*depths: int, **more: object) -> dict[str, object]:
    return {"block": "bottleneck", "depths": depths, **more}


def _cifar(block: str, n: int) -> dict[str, object]:
    return {"block": block, "depths": (n, n, n), "planes": 16, "small_images": True, "shortcut": "A"}


_RESIDUAL = ("drop_path", "zero_init_residual", "shortcut")
_IMAGENET = (*_RESIDUAL, "blur_pool", "deep_stem", "avg_down")  # the last three change ImageNet's stem and strides

_PLAIN = Entry(module="models.resnet", options=(), paper="1512.03385 Table 1")
_RESNET = replace(_PLAIN, options=_IMAGENET)  # basic blocks: no 1x1 convolution that Ghost modules could replace
_DEEP = replace(_PLAIN, options=(*_IMAGENET, "ghost"))
_V1 = replace(_PLAIN, options=(*_RESIDUAL, "deep_stem", "avg_down", "ghost"), twin="stride_in_1x1")
_CIFAR = Entry(
    module="models.resnet",
    options=_RESIDUAL,
    paper="1512.03385 Table 6",
    twin="cifar",
    image_size=32,
    min_size=4,
    num_classes=10,
)
_PLAIN_CIFAR = replace(_CIFAR, options=(), paper="1512.03385 section 4.2", twin="plain_cifar")
_GHOST = Entry(module="models.ghostnet", options=("dropout", "ghost"), paper="1911.11907 Table 7")

TABLE: dict[str, Entry] = {
    # Deep residual learning. FLOPs of Table 1 are those of stride_in_1x1; the v1.5 forms cost 0.2 to 0.3 billion more.
    "resnet18": replace(_RESNET, settings=_basic(2, 2, 2, 2), flops=1.8e9, reference="torchvision/resnet18"),
    "resnet34": replace(_RESNET, settings=_basic(3, 4, 6, 3), flops=3.6e9, reference="torchvision/resnet34"),
    "resnet50": replace(
        _DEEP,
        settings=_bottleneck(3, 4, 6, 3),
        paper="1611.05431 Table 1",
        parameters=25.5e6,
        flops=4.1e9,
        reference="torchvision/resnet50",
    ),
    "resnet101": replace(_DEEP, settings=_bottleneck(3, 4, 23, 3), reference="torchvision/resnet101"),
    "resnet152": replace(_DEEP, settings=_bottleneck(3, 8, 36, 3), reference="torchvision/resnet152"),
    "resnet50_v1": replace(_V1, settings=_bottleneck(3, 4, 6, 3, stride_in_1x1=True), flops=3.8e9),
    "resnet101_v1": replace(_V1, settings=_bottleneck(3, 4, 23, 3, stride_in_1x1=True), flops=7.6e9),
    "resnet152_v1": replace(_V1, settings=_bottleneck(3, 8, 36, 3, stride_in_1x1=True), flops=11.3e9),
    "plain18": replace(_PLAIN, settings=_plain(2, 2, 2, 2), flops=1.8e9, twin="plain"),
    "plain34": replace(_PLAIN, settings=_plain(3, 4, 6, 3), flops=3.6e9, twin="plain"),
    # Aggregated residual transformations: C groups of width d are written C x d.
    "resnext50_32x4d": replace(
        _DEEP,
        settings=_bottleneck(3, 4, 6, 3, groups=32, base_width=4),
        paper="1611.05431 Table 1",
        parameters=25.0e6,
        flops=4.2e9,
        reference="torchvision/resnext50_32x4d",
    ),
    "resnext101_32x4d": replace(
        _DEEP,
        settings=_bottleneck(3, 4, 23, 3, groups=32, base_width=4),
        paper="1611.05431 Table 3",
        reference="timm/resnext101_32x4d",
    ),
    "resnext101_32x8d": replace(
        _DEEP,
        settings=_bottleneck(3, 4, 23, 3, groups=32, base_width=8),
        paper="1805.00932 section 2.2",
        parameters=88e6,
        flops=16e9,
        reference="torchvision/resnext101_32x8d",
    ),
    "resnext101_64x4d": replace(
        _DEEP,
        settings=_bottleneck(3, 4, 23, 3, groups=64, base_width=4),
        paper="1611.05431 Table 4",
        reference="torchvision/resnext101_64x4d",
    ),
    # CIFAR: 6 n + 2 layers in three stages of n blocks; option A in every shortcut (section 4.2).
    "resnet20": replace(_CIFAR, settings=_cifar("basic", 3), parameters=0.27e6),
    "resnet32": replace(_CIFAR, settings=_cifar("basic", 5), parameters=0.46e6),
    "resnet44": replace(_CIFAR, settings=_cifar("basic", 7), parameters=0.66e6),
    "resnet56": replace(_CIFAR, settings=_cifar("basic", 9), parameters=0.85e6),
    "resnet110": replace(_CIFAR, settings=_cifar("basic", 18), parameters=1.7e6),
    "resnet1202": replace(_CIFAR, settings=_cifar("basic", 200), parameters=19.4e6),
    "plain20": replace(_PLAIN_CIFAR, settings=_cifar("plain", 3)),
    "plain32": replace(_PLAIN_CIFAR, settings=_cifar("plain", 5)),
    "plain44": replace(_PLAIN_CIFAR, settings=_cifar("plain", 7)),
    "plain56": replace(_PLAIN_CIFAR, settings=_cifar("plain", 9)),
    "resnext29_8x64d": replace(
        _CIFAR,
        settings=_bottleneck(3, 3, 3, small_images=True, groups=8),
        options=(*_RESIDUAL, "ghost"),
        paper="1611.05431 Table 7",
        parameters=34.4e6,
    ),
    "resnext29_16x64d": replace(
        _CIFAR,
        settings=_bottleneck(3, 3, 3, small_images=True, groups=16),
        options=(*_RESIDUAL, "ghost"),
        paper="1611.05431 Table 7",
        parameters=68.1e6,
    ),
    "inception_v3": Entry(
        module="models.inception",
        options=("aux_logits", "dropout"),
        paper="1512.00567 Table 1",
        reference="torchvision/inception_v3",
        image_size=299,
        min_size=75,
        min_sizes={"aux_logits": 299},  # its 5x5 convolution needs the whole 17x17 map
    ),
    "ghostnet_050": replace(
        _GHOST, settings={"width": 0.5}, parameters=2.6e6, flops=42e6, reference="timm/ghostnet_050"
    ),
    "ghostnet_100": replace(
        _GHOST,
        settings={"width": 1.0},
        parameters=5.2e6,
        flops=141e6,
        reference="timm/ghostnet_100",
    ),
    "ghostnet_130": replace(
        _GHOST,
        settings={"width": 1.3},
        parameters=7.3e6,
        flops=226e6,
        reference="timm/ghostnet_130",
    ),
    "ghost_resnet50": replace(
        _DEEP,
        settings=_bottleneck(3, 4, 6, 3, ghost=2, ghost_kernels=(1, 3)),
        paper="1911.11907 Table 6",
        parameters=13.0e6,
        flops=2.2e9,
        twin="ghost_resnet",
    ),
}

"""The same networks by others: whole from timm or torchvision, or made from their parts. The only importer of both."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision.models as torchvision_models
from timm.data.config import resolve_model_data_config
from timm.models.ghostnet import GhostModule
from timm.models.resnet import BasicBlock, Bottleneck
from timm.models.resnet import ResNet as TimmResNet
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock as TorchvisionBasicBlock
from torchvision.models.resnet import Bottleneck as TorchvisionBottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from models import registry
from models.config import ModelConfig, arguments, check_arguments
from models.table import Entry

# init_weights: as torchvision trains them, without a warning. GoogLeNet's auxiliary heads would give three outputs.
_TORCHVISION_FIXED: Mapping[str, dict[str, bool]] = {
    "inception_v3": {"init_weights": True},
    "googlenet": {"init_weights": True, "aux_logits": False},
}


def build(config: ModelConfig) -> nn.Module:
    """The network `timm/<name>` or `torchvision/<name>`, with random weights.

    Raises:
        ValueError: The package has no such network, or the network no such option.
    """
    package, _, name = config.name.partition("/")
    try:
        return (_timm if package == "timm" else _torchvision)(name, config)
    except Exception as error:  # of any kind: the value of an option may be anything
        given, why = ", ".join(registry.options(config)) or "no options", str(error) or repr(error)
        raise ValueError(f"model.name: {package} cannot build {name!r} with {given}: {why}") from error


def image_size(name: str) -> int:
    """Side of the images that a package's network is trained with, pixels; 224 where it does not say."""
    package, _, model = name.partition("/")
    if package == "timm":
        try:
            settings = timm.get_pretrained_cfg(model)
        except RuntimeError as error:  # an unknown tag
            raise ValueError(f"model.name: {name!r}: {error}") from error
        return settings.input_size[-1] if settings else 224
    return 299 if model == "inception_v3" else 224


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """Trained weights of a package in its own network, and how it evaluates them."""

    network: nn.Module
    mean: tuple[float, ...]
    """Of each channel (R, G, B), subtracted from values of 0 to 1."""
    std: tuple[float, ...]
    crop: int
    """Side of the square that the network sees, pixels."""
    resize: int | None
    """Shorter side of the image before the crop, pixels; None: the whole image becomes the square."""
    interpolation: str
    top1: float | None
    """On ImageNet's validation images as the package states it, percent; None where it does not."""
    classes: tuple[str, ...] | None = None
    """Names in the order of the logits, where the weights say them."""


def published(package: str, name: str) -> Published:
    """What a package says of weights: timm's `resnet50.a1_in1k`, `hf-hub:...`; torchvision's `resnet50.IMAGENET1K_V1`.

    Raises:
        ValueError: There are no such weights within reach, or they are evaluated as nothing here is.
    """
    try:
        weights = _timm_published(name) if package == "timm" else _torchvision_published(name)
        if weights.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"it is evaluated with {weights.interpolation} interpolation")
    # OSError: every failure of a connection; from LookupError on, of a config.json that is not timm's
    except (RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError, AssertionError) as error:
        why = f"within reach, or none that it reads; name a file of them, fetched elsewhere? {error}"
        raise ValueError(f"weights: {package} has no weights of {name!r} {why}") from error
    return weights


def _timm_published(name: str) -> Published:
    network = timm.create_model(name, pretrained=True)
    settings: dict[str, Any] = resolve_model_data_config(network, use_test_size=True)
    crop, share, mode = settings["input_size"][-1], settings["crop_pct"], settings["crop_mode"]
    if mode not in ("center", "squash") or (mode == "squash" and share != 1):
        raise ValueError(f"it is evaluated with crop mode {mode} and a share of {share}")
    labels = getattr(network, "pretrained_cfg", {}).get("label_names")
    return Published(
        network=network,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        classes=tuple(map(str, labels)) if labels and len(labels) == network.num_classes else None,
        crop=crop,
        resize=math.floor(crop / share) if mode == "center" else None,
        interpolation=settings["interpolation"],
        top1=None,
    )


def _torchvision_published(name: str) -> Published:
    model, _, tag = name.partition(".")
    kinds = torchvision_models.get_model_weights(model)
    weights = kinds[tag] if tag else kinds["DEFAULT"]
    transform = weights.transforms()
    return Published(
        network=torchvision_models.get_model(model, weights=weights),
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        crop=transform.crop_size[0],
        resize=transform.resize_size[0],
        interpolation=transform.interpolation.value,
        top1=weights.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1"),
    )


def resampled(config: ModelConfig, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights of one of timm's networks at the image size of `config`, by timm's own loader of this architecture."""
    said = {"state_dict": dict(state), "num_classes": config.num_classes, "label_offset": None}
    with warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]):
        return _timm(config.name[len("timm/") :], config, pretrained=True, pretrained_cfg_overlay=said).state_dict()


def twin(name: str) -> nn.Module:
    """The public counterpart of one of our networks, for the classes of its paper's data set."""
    row = registry.entry(name)
    if row.reference:
        return build(ModelConfig(name=row.reference, num_classes=row.num_classes))
    if row.twin is None:
        raise ValueError(f"model.name: {name!r} has no public counterpart")
    return TWINS[row.twin](row)


def stride_in_1x1(row: Entry) -> nn.Module:
    """The ResNet of torchvision with each stage's stride moved from the 3x3 to the first 1x1."""
    network = TorchvisionResNet(TorchvisionBottleneck, _depths(row), row.num_classes)
    for block in network.modules():
        if isinstance(block, TorchvisionBottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return network


def plain(row: Entry) -> nn.Module:
    """The ResNet of torchvision whose shortcuts add nothing."""
    network = TorchvisionResNet(TorchvisionBasicBlock, _depths(row), row.num_classes)
    return _without_shortcuts(network, TorchvisionBasicBlock)


def cifar(row: Entry) -> nn.Module:
    """The ResNet of timm with three stages, CIFAR's stem and, where the paper has it, option A."""
    settings: Mapping[str, Any] = row.settings
    planes = settings.get("planes", 64)
    block: Any = Bottleneck if settings["block"] == "bottleneck" else BasicBlock
    network = TimmResNet(
        block,
        settings["depths"],
        num_classes=row.num_classes,
        cardinality=settings.get("groups", 1),
        channels=(planes, planes * 2, planes * 4),
        stem_type="deep",  # replaced below; with it the first stage takes stem_width * 2 channels
        stem_width=planes // 2,
        zero_init_last=False,
    )
    network.conv1 = nn.Conv2d(3, planes, 3, padding=1, bias=False)
    network.maxpool = network.layer4 = nn.Identity()
    for module in network.modules():
        if settings.get("shortcut") == "A" and isinstance(module, BasicBlock) and module.downsample is not None:
            module.downsample = _SubsampleAndPad()
    return network


def plain_cifar(row: Entry) -> nn.Module:
    """The ResNet of `cifar` without shortcuts."""
    return _without_shortcuts(cifar(row), BasicBlock)


def ghost_resnet(row: Entry) -> nn.Module:
    """The ResNet of torchvision with timm's Ghost modules for its convolutions, the first apart."""
    network = TorchvisionResNet(TorchvisionBottleneck, _depths(row), row.num_classes)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child is not network.conv1:
                setattr(parent, name, _ghost(child))
    return network


TWINS: Mapping[str, Callable[[Entry], nn.Module]] = {
    function.__name__: function for function in (stride_in_1x1, plain, cifar, plain_cifar, ghost_resnet)
}


def _timm(name: str, config: ModelConfig, **more: Any) -> nn.Module:
    given, ours = arguments(config.options or ()), registry.TIMM_ARGUMENTS
    if given:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            check_arguments(given, type(timm.create_model(name)), ours.values())
    more |= {ours[option]: value for option, value in registry.options(config).items() if option in ours} | given
    return timm.create_model(name, num_classes=config.num_classes, in_chans=config.in_channels, **more)


def _torchvision(name: str, config: ModelConfig) -> nn.Module:
    options, fixed = registry.options(config), _TORCHVISION_FIXED.get(name, {})
    if clash := options.keys() & fixed.keys():
        raise ValueError(f"{', '.join(clash)} is fixed for this network")
    return torchvision_models.get_model(name, weights=None, num_classes=config.num_classes, **options, **fixed)


def _depths(row: Entry) -> list[int]:
    settings: Mapping[str, Any] = row.settings
    return list(settings["depths"])


def _without_shortcuts(network: nn.Module, kind: type[nn.Module]) -> nn.Module:
    for block in network.modules():
        if isinstance(block, kind):
            block.downsample = _Nothing()
    return network


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


class _SubsampleAndPad(nn.Module):
    """Option A as the authors' Torch code has it: a strided 1x1 average, then the same again times zero beside it."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(x, 1, stride=2)
        return torch.cat([x, x * 0], dim=1)


def _ghost(convolution: nn.Conv2d) -> nn.Module:
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    module = GhostModule(convolution.in_channels, convolution.out_channels, kernel, ratio=2, dw_size=3, stride=stride)
    module.primary_conv = module.primary_conv[:1]  # bare: the block's own BatchNorm and ReLU follow
    module.cheap_operation = module.cheap_operation[:1]
    return module

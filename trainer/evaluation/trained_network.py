"""A trained network, and how it wants its images."""

from dataclasses import dataclass

import torch
from torch import nn

from data.catalog.listing import manifest_file
from data.catalog.manifest import load
from data.plan.config import InputConfig
from models import class_names, factory, weights
from models.config import ModelConfig
from trainer.evaluation.protocol import Interpolation, Protocol, center
from trainer.evaluation.weights_source import Source, Which, own_protocol, usual_input
from trainer.recipe.config import Precision, Recipe
from trainer.recipe.decode import encode
from trainer.recipe.identity import digest

IMAGENET_CLASSES = 1000


class UnusableWeightsError(ValueError):
    """Weights that cannot be evaluated; the message says why, and the mend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is evaluated."""

    source: Source
    model: str
    network: nn.Module
    num_classes: int
    input: InputConfig
    """Mean and standard deviation of its pixels, and the size it was trained for."""
    protocol: Protocol
    """Its own."""
    precision: Precision
    which: Which
    classes: tuple[str, ...] | None
    """Names of its classes in the order of its logits; None where nobody says."""
    weights_sha256: str
    train_sha256: str | None
    """Of the images that it was trained on, where its run says so."""
    published_top1: float | None
    """What its package says of it, percent."""


def load_subject(source: Source) -> Subject:
    """Build the network and put the weights into it.

    Raises:
        UnusableWeightsError: They cannot be read, do not fit, or are not within reach.
    """
    try:
        return _packaged(source) if source.kind == "package" else _stored(source)
    except ValueError as error:
        raise UnusableWeightsError(str(error)) from None


def _stored(source: Source) -> Subject:
    assert source.file
    model = source.recipe.model if source.recipe else _described(source)
    network = factory.build(model)
    weights.load(network, str(source.file), model)
    settings = source.recipe.input if source.recipe else usual_input(model.name)
    classes = _trained_classes(source)
    return Subject(
        source=source,
        model=model.name,
        network=network.eval(),
        num_classes=model.num_classes,
        input=settings,
        protocol=own_protocol(source.recipe or Recipe(input=settings)),
        precision=source.recipe.precision if source.recipe else "fp32",
        which=source.which,
        classes=classes[0] if classes else _usual_classes(model.num_classes),
        weights_sha256=fingerprint(network),
        train_sha256=classes[1] if classes else None,
        published_top1=None,
    )


def _described(source: Source) -> ModelConfig:
    """What a file of weights says of its own network."""
    assert source.file
    _, model = weights.read(source.file)
    if model is None:
        raise UnusableWeightsError(f"weights: {source.text} does not say which network it is of; name it by --recipe")
    return model


def _packaged(source: Source) -> Subject:
    from models import reference  # imports timm and torchvision: seconds that a file does not need

    package, name = source.package
    found = reference.published(package, name)
    interpolation: Interpolation = "bicubic" if found.interpolation == "bicubic" else "bilinear"
    resize = found.resize
    own = (
        center(found.crop, resize, interpolation)
        if resize
        else Protocol(kind="resize", crop=found.crop, interpolation=interpolation)
    )
    (red, green, blue), (red_std, green_std, blue_std) = found.mean, found.std
    num_classes = _logits(found.network, found.crop)
    return Subject(
        source=source,
        model=source.text,
        network=found.network.eval(),
        num_classes=num_classes,
        input=InputConfig(
            mean=(red, green, blue),
            std=(red_std, green_std, blue_std),
            eval_crop=found.crop,
            eval_resize=resize or found.crop,
        ),
        protocol=own,
        precision="fp32",
        which="raw",
        classes=_usual_classes(num_classes),
        weights_sha256=fingerprint(found.network),
        train_sha256=None,
        published_top1=found.top1,
    )


@torch.no_grad()
def _logits(network: nn.Module, side: int) -> int:
    return network.eval()(torch.zeros(1, 3, side, side)).shape[1]


def _trained_classes(source: Source) -> tuple[tuple[str, ...], str] | None:
    """Names of the classes that a run was trained on, and the hash of its images."""
    if source.run is None or not manifest_file(source.run.path, "train").exists():
        return None
    train = load(source.run.manifest("train"), source.run.path)
    return train.classes, train.fingerprint()


def _usual_classes(count: int) -> tuple[str, ...] | None:
    return class_names.wnids() if count == IMAGENET_CLASSES else None


def fingerprint(network: nn.Module) -> str:
    """Hex digest of all weights and buffers, the same in every file format."""
    return digest(
        (
            name,
            tuple(value.shape),
            str(value.dtype),
            value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data,
        )
        for name, value in sorted(network.state_dict().items())
    )


def description(subject: Subject) -> dict[str, object]:
    """What is said of the network beside its accuracy."""
    recipe = subject.source.recipe
    return {
        "weights_of": subject.source.text,
        "model": subject.model,
        "weights": subject.which,
        "weights_sha256": subject.weights_sha256,
        "train_sha256": subject.train_sha256,
        "published_top1": subject.published_top1,
        "own_protocol": subject.protocol.name,
        **({"recipe": encode(recipe)} if recipe else {}),
    }

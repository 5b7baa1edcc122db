"""A trained network, with the input settings and the protocol that belong to it."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from data.catalog.manifest import Manifest, load
from data.plan.config import EvalViews, InputConfig
from models import class_names, factory, weights
from models.config import ModelConfig
from models.weights import Origin
from trainer.evaluation.protocol import Protocol
from trainer.evaluation.request import own_protocol, usual_input
from trainer.initial import fingerprint
from trainer.recipe.config import Precision, Recipe
from trainer.recipe.decode import encode
from trainer.sources import Source, known_input

IMAGENET_CLASSES = 1000


class UnusableWeightsError(ValueError):
    """Weights that cannot be evaluated; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A network that is evaluated."""

    source: Source
    model: str
    network: nn.Module
    num_classes: int
    input: InputConfig
    """Mean and standard deviation of its pixels, and the size it was trained for."""
    protocol: Protocol
    """The one that it is evaluated by unless another is asked for."""
    precision: Precision
    classes: tuple[str, ...] | None
    """Names of its classes in the order of its logits; None where they are not known."""
    guessed: bool
    """Whether the names are ImageNet's because there are 1,000."""
    weights_sha256: str
    train_sha256: str | None = None
    """Of the images that it was trained on, where its run says so."""
    published_top1: float | None = None
    """The accuracy that its package states, percent."""


def load_subject(source: Source) -> Subject:
    """Build the network and put the weights into it.

    Raises:
        UnusableWeightsError: They cannot be read, do not fit the network, or are not available offline.
    """
    try:
        return _packaged(source) if source.kind == "package" else _stored(source)
    except ValueError as error:
        raise UnusableWeightsError(str(error)) from None


def _stored(source: Source) -> Subject:
    assert source.file
    stored = weights.read(source.file)
    origin = stored[1]
    model = source.recipe.model if source.recipe else origin.model
    if model is None:
        raise UnusableWeightsError(f"weights: {source.text} does not say which network it is of; name it by --recipe")
    network = factory.build(model)
    chosen = weights.put(network, stored, str(source.file), model, source.entry)
    source = replace(source, which="ema") if chosen.is_averaged else source
    run = source.run
    train = load(run.manifest("train"), run.path) if run and run.manifest("train").exists() else None
    return subject(source, network, model, train, origin)


def subject(
    source: Source, network: nn.Module, model: ModelConfig, train: Manifest | None, origin: Origin | None = None
) -> Subject:
    """One of our networks; `train` are the images that it was trained on, where they are known."""
    origin = origin or Origin()
    recipe = source.recipe or Recipe(input=replace(usual_input(model.name), **known_input(origin.input, source.text)))
    names, protocol = train.classes if train else origin.classes, own_protocol(recipe)
    if not source.recipe and origin.input.get("crop_mode") == "squash":
        protocol = replace(protocol, squares=replace(protocol.squares, resize=None))
    return Subject(
        source=source,
        model=model.name,
        network=network.eval(),
        num_classes=model.num_classes,
        input=recipe.input,
        protocol=protocol,
        precision=recipe.precision if source.recipe else "fp32",
        classes=names or _usual_classes(model.num_classes),
        guessed=names is None,
        weights_sha256=fingerprint(network.state_dict()),
        train_sha256=train.fingerprint() if train else None,
    )


def _packaged(source: Source) -> Subject:
    from models import reference  # here, as it imports timm and torchvision for seconds

    published = reference.published(*source.package)
    squares = EvalViews(
        side=published.crop,
        resize=published.resize or None,
        interpolation="bicubic" if published.interpolation == "bicubic" else "bilinear",
    )
    (red, green, blue), (red_std, green_std, blue_std) = published.mean, published.std
    network = published.network.eval()
    with torch.no_grad():
        num_classes = network(torch.zeros(1, 3, published.crop, published.crop)).shape[1]
    return Subject(
        source=source,
        model=source.text,
        network=network,
        num_classes=num_classes,
        input=InputConfig(mean=(red, green, blue), std=(red_std, green_std, blue_std), eval_crop=published.crop),
        protocol=Protocol(squares=squares),
        precision="fp32",
        classes=published.classes or _usual_classes(num_classes),
        guessed=False,
        weights_sha256=fingerprint(network.state_dict()),
        published_top1=published.top1,
    )


def _usual_classes(count: int) -> tuple[str, ...] | None:
    return class_names.wnids() if count == IMAGENET_CLASSES else None


def description(subject: Subject) -> dict[str, object]:
    """The entries of evaluation.json about the network."""
    recipe = subject.source.recipe
    return {
        "weights_of": subject.source.text,
        "model": subject.model,
        "weights": subject.source.which,
        "weights_sha256": subject.weights_sha256,
        "train_sha256": subject.train_sha256,
        "published_top1": subject.published_top1,
        "own_protocol": subject.protocol.name,
        **({"recipe": encode(recipe)} if recipe else {}),
    }

"""The trained weights that a run begins from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from models import factory, fitting, weights
from models.config import ModelConfig
from models.entries import Chosen
from models.table import TABLE
from models.trace import skeleton
from models.weights import Origin, Stored
from trainer.exits import RunEndedError
from trainer.optim.freezing import freeze
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.recipe.identity import digest
from trainer.sources import FOLLOWED, HUBS, Source, changes, known_input, locate, placed


class OtherWeightsError(RunEndedError):
    """The weights to begin from are not those that the run was set up with."""

    said_by = "main"


def resolved(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """A new run's recipe with the hash of the weights that it begins from, and the input settings that belong to them.

    Settings that the recipe leaves at their defaults, and `init.keep` does not name, follow the weights: mean, standard
    deviation, and all sizes or none.

    Returns:
        The recipe, and what the user may want to know, a line each.

    Raises:
        InvalidConfigError: There are no such weights, or they do not fit the network or the recipe's hash.
    """
    init = recipe.init
    if not init.weights:
        return recipe, []
    try:
        network = skeleton(recipe.model)
        chosen, known = _chosen(network, recipe)
        _, is_new, changed = fitting.fitted(network, chosen.state, recipe.model, init.head)
    except ValueError as error:
        field = "" if str(error).startswith("model.") else "init.weights: "
        lines = str(error).splitlines()
        raise InvalidConfigError(f"{field}{line.removeprefix('weights: ')}" for line in lines) from None
    sha256 = fingerprint(chosen.state)
    if init.sha256 not in (None, sha256):
        raise InvalidConfigError([f"init.sha256: {init.sha256}, but that of {init.weights} is {sha256}"])
    follow = changes(recipe.input, known, init.keep or ())
    settings = ", ".join(f"{name} {value}" for name, value in follow.items())
    classes = f"a new classifier of {recipe.model.num_classes:,} classes" if is_new else "its classifier, too"
    complete = replace(init, weights=placed(init.weights), keep=None, sha256=sha256)
    return replace(recipe, init=complete, input=replace(recipe.input, **follow)), [
        f"begins from {init.weights} (SHA-256 {sha256[:12]}), with {classes}",
        *([chosen.note] if chosen.note else []),
        *changed,
        *([f"input settings of these weights: {settings}"] if settings else []),
    ]


def network(recipe: Recipe) -> nn.Module:
    """What a run of the recipe begins with, on the CPU; the generators of the process stay as they are.

    Raises:
        InvalidConfigError: As of `resolved`.
    """
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(recipe.seed)
        built = factory.build(recipe.model)
    if recipe.init.weights:
        load(built, resolved(recipe)[0])
    freeze(built, recipe.init.freeze or ())
    return built


def load(network: nn.Module, recipe: Recipe) -> None:
    """Put the weights that the recipe begins from into a network.

    Raises:
        OtherWeightsError: They are gone, or are others than at the run's first start.
    """
    assert recipe.init.weights
    try:
        chosen, _ = _chosen(network, recipe)
        sha256 = fingerprint(chosen.state)
        if recipe.init.sha256 not in (None, sha256):
            raise ValueError(f"its SHA-256 is {sha256}, and was {recipe.init.sha256}")
        fitting.fit(network, chosen.state, recipe.model, recipe.init.head)
    except ValueError as error:
        raise OtherWeightsError(
            f"{recipe.init.weights}, from which this run begins, has changed: {str(error).removeprefix('WEIGHTS: ')}\n"
            "  put the old ones back, or begin a new run in another --output"
        ) from None


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Hex digest of all weights and buffers, the same in every file format."""
    return digest(
        (
            name,
            tuple(value.shape),
            str(value.dtype),
            value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data,
        )
        for name, value in sorted(state.items())
    )


def _chosen(network: nn.Module, recipe: Recipe) -> tuple[Chosen, Mapping[str, Any]]:
    """The weights that the recipe names, and the input settings that they were trained with.

    Raises:
        ValueError: There are none, or they are another network's.
    """
    text = recipe.init.weights or ""
    source = locate(text, None, recipe.init.entry)
    stored, known = read(source)
    _check_architecture(source, stored[1].model, recipe.model.name)
    chosen = weights.chosen(network, stored, text, recipe.model, source.entry)
    if side := recipe.model.img_size:
        resize = side * known.get("eval_resize", side) // known.get("eval_crop", side)
        known = {**known, "train_size": side, "eval_crop": side, "eval_resize": resize}
    if source.which == "ema" and not chosen.note:
        chosen = chosen._replace(note="took its moving average (the setting entry chooses)")
    return chosen, known


def _check_architecture(source: Source, theirs: ModelConfig | None, ours: str) -> None:
    """A hub's folder says which network it holds: refuse another, though its weights might fit."""
    row = TABLE.get(ours)
    names = {name.rpartition("/")[2].partition(".")[0] for name in (ours, (row and row.reference) or ours)}
    if source.text.startswith(HUBS) and theirs and theirs.name not in names:
        raise ValueError(f"{source.text} holds {theirs.name}, not {ours}; set model.name to timm/{theirs.name}")


def read(source: Source) -> tuple[Stored, Mapping[str, Any]]:
    """What a source of weights holds, and fields of `InputConfig` that they were trained with, as far as known.

    Raises:
        ValueError: There are no weights.
    """
    if source.kind == "package":
        return _packaged(*source.package)
    if source.kind == "predictions" or source.file is None:
        raise ValueError(f"{source.text} holds answers, not weights")
    stored = weights.read(source.file)
    settings = source.recipe.input if source.recipe else None
    known = {name: getattr(settings, name) for name in FOLLOWED} if settings else None
    return stored, known_input(stored[1].input, source.text) if known is None else known


def _packaged(package: str, name: str) -> tuple[Stored, Mapping[str, Any]]:
    from models import reference  # imports timm and torchvision for seconds

    published = reference.published(package, name)
    network, state = published.network, published.network.state_dict()
    said = getattr(network, "pretrained_cfg", {})  # timm's
    sizes = {"train_size": said.get("input_size", [published.crop])[-1], "eval_crop": published.crop}
    pixels = {"mean": published.mean, "std": published.std}
    if getattr(network, "transform_input", False):  # torchvision's Inception scales them to these itself
        pixels |= {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    views = {"interpolation": published.interpolation, "crop_mode": "center" if published.resize else "squash"}
    known = {**pixels, **sizes, **views, "eval_resize": published.resize or published.crop}
    model = ModelConfig(
        name=said["architecture"] if ":" in name else name.partition(".")[0],  # ours of this name is the same network
        num_classes=len(state.get(f"{fitting.classifiers(network)[0]}.weight", ())),  # an encoder's are none
    )
    return (state, Origin(model=model, classes=published.classes, input=known)), known_input(known, name)

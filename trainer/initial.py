"""The trained weights that a run begins from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from models import fitting, weights
from models.config import ModelConfig
from models.trace import skeleton
from trainer.exits import RunEndedError
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.recipe.identity import digest
from trainer.sources import SIZES, changes, known_input, locate, placed


class OtherWeightsError(RunEndedError):
    """The weights to begin from are not those that the run was set up with."""

    said_by = "main"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """Trained weights."""

    state: Mapping[str, Tensor]
    model: ModelConfig | None  # where it is known
    input: Mapping[str, Any]
    """Fields of `InputConfig` that they were trained with, as far as they are known."""


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
        trained = _read(init.weights)
        weights.check(init.weights, trained.model, recipe.model)
        _, is_new = fitting.fitted(skeleton(recipe.model), trained.state, recipe.model.name, init.head)
    except ValueError as error:
        field = "" if str(error).startswith("model.") else "init.weights: "
        lines = str(error).splitlines()
        raise InvalidConfigError(f"{field}{line.removeprefix('weights: ')}" for line in lines) from None
    sha256 = fingerprint(trained.state)
    if init.sha256 not in (None, sha256):
        raise InvalidConfigError([f"init.sha256: {init.sha256}, but that of {init.weights} is {sha256}"])
    follow = changes(recipe.input, trained.input, init.keep or ())
    settings = ", ".join(f"{name} {value}" for name, value in follow.items())
    classes = f"a new classifier of {recipe.model.num_classes:,} classes" if is_new else "its classifier, too"
    complete = replace(init, weights=placed(init.weights), keep=None, sha256=sha256)
    return replace(recipe, init=complete, input=replace(recipe.input, **follow)), [
        f"begins from {init.weights} (SHA-256 {sha256[:12]}), with {classes}",
        *([f"input settings of these weights: {settings}"] if settings else []),
    ]


def load(network: nn.Module, recipe: Recipe) -> None:
    """Put the weights that the recipe begins from into a network.

    Raises:
        OtherWeightsError: They are gone, or are others than at the run's first start.
    """
    assert recipe.init.weights
    try:
        trained = _read(recipe.init.weights)
        sha256 = fingerprint(trained.state)
        if recipe.init.sha256 not in (None, sha256):
            raise ValueError(f"its SHA-256 is {sha256}, and was {recipe.init.sha256}")
        fitting.fit(network, trained.state, recipe.model.name, recipe.init.head)
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


def _read(text: str) -> Pretrained:
    """The weights that a user names.

    Raises:
        ValueError: There are none.
    """
    source = locate(text, None)
    if source.kind == "package":
        return _packaged(text)
    if source.kind == "predictions" or source.file is None:
        raise ValueError(f"{text} holds answers, not weights")
    state, origin = weights.read(source.file)
    settings = source.recipe.input if source.recipe else None
    names = ("mean", "std", *SIZES)
    known = {name: getattr(settings, name) for name in names} if settings else known_input(origin.input, text)
    return Pretrained(state=state, model=origin.model, input=known)


def _packaged(text: str) -> Pretrained:
    from models import reference  # imports timm and torchvision for seconds

    package, _, name = text.partition("/")
    published = reference.published(package, name)
    trained = getattr(published.network, "pretrained_cfg", {}).get("input_size", [published.crop])  # timm's
    sizes = {"train_size": trained[-1], "eval_crop": published.crop, "eval_resize": published.resize}
    known = {"mean": published.mean, "std": published.std, **(sizes if published.resize else {})}
    model = ModelConfig(name=name.partition(".")[0])  # ours of this name is the same network
    return Pretrained(state=published.network.state_dict(), model=model, input=known)

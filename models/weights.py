"""Weights from a file into a network, whole or not at all."""

import json
import logging
import re
import shlex
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.serialization import safe_globals

from models import entries
from models.config import ModelConfig
from models.entries import Chosen
from models.fitting import fit, shapes
from models.table import TABLE

_log = logging.getLogger(__name__)

# What torch.load gives on damaged bytes; with weights_only it has run nothing.
UNREADABLE = (RuntimeError, EOFError, LookupError, TypeError, ValueError, AssertionError, AttributeError, struct.error)

# Keeps of a pickled network its weights, and of a checkpoint its networks and mappings of tensors.
_CONVERSION = (
    'import sys, torch; s = lambda x: x.state_dict() if hasattr(x, "state_dict") else x; '
    'c = s(torch.load(sys.argv[1], "cpu", weights_only=False)); torch.save({k: s(v) for k, v in c.items() if '
    "torch.is_tensor(v) or isinstance(s(v), dict) and all(map(torch.is_tensor, s(v).values()))}, sys.argv[2])"
)

# Options that change what a network computes and not the names of its weights: a file of another would load.
UNSEEN = ("shortcut", "blur_pool", "deep_stem", "avg_down", "ghost")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a file says of its weights: ours all of it, other programs' nothing."""

    model: ModelConfig | None = None
    classes: tuple[str, ...] | None = None
    """Names in the order of the logits."""
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings of the images that the network was trained for."""

    @property
    def image_size(self) -> int | None:
        """Side of the images, pixels."""
        side = self.input.get("eval_crop")
        return side if isinstance(side, int) else None

    def metadata(self) -> dict[str, str]:
        """The metadata of a safetensors file, from which `read` makes it again."""
        model = {name: value for name, value in asdict(self.model).items() if value is not None} if self.model else None
        said = {"model": model, "classes": self.classes, "input": self.input}
        return {name: json.dumps(value) for name, value in said.items() if value}


Stored = tuple[Any, Origin]
"""What a file holds, the weights among it, and what it says of them."""


def load(network: nn.Module, source: str, config: ModelConfig) -> None:
    """Puts trained weights into a network.

    Args:
        network: What `factory.build` returned.
        source: A file.
        config: What the network was built from.

    Raises:
        ValueError: There are no such weights, they do not fit, or the file says that they are another network's; the
            network is then unchanged.
    """
    put(network, read(Path(source)), source, config)


def put(network: nn.Module, weights: Stored, source: str, config: ModelConfig, entry: str | None = None) -> Chosen:
    """The same with weights that have been read; returns those that were chosen.

    Raises:
        ValueError: As `load` does.
    """
    best = chosen(network, weights, source, config, entry)
    if best.note:
        _log.info("weights: %s", best.note)
    fit(network, best.state, config)
    return best


def chosen(network: nn.Module, weights: Stored, source: str, config: ModelConfig, entry: str | None = None) -> Chosen:
    """What `entries.chosen` takes for a network, which may be on the meta device; `source` is the file's name.

    Raises:
        ValueError: There is none, it is of another network, or its values are not finite.
    """
    content, origin = weights
    check(source, origin.model, config)
    try:
        best = entries.chosen(content, shapes(network, config.name), entry)
    except ValueError as error:
        raise ValueError(f"weights: {source} {error}") from None
    broken = [key for key, value in best.state.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"weights: {source} holds values that are no numbers, in {', '.join(broken[:3])}; it diverged")
    return best


def read(path: Path) -> Stored:
    """What a file holds, for `chosen`, and what it says of its weights.

    Takes safetensors and torch files of plain data, distinguished by their content.

    Raises:
        ValueError: No such file, a damaged one, or pickled objects, which are never run.
    """
    if not path.is_file():
        raise ValueError(f"weights: {path} is not a file")
    try:
        content, said = _torch_file(path) if _is_torch_file(path) else _safetensors(path)
    except OSError as error:
        raise ValueError(f"weights: {path}: {error.strerror or error}") from error
    return content, _origin(said)


def _is_torch_file(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(9)
    # a safetensors file begins with the length of its header, eight bytes, and the header's brace
    return start[8:] != b"{"


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping, it has only keys
        return state, {name: json.loads(metadata[name]) for name in ("model", "classes", "input") if name in metadata}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"weights: {path} is not a whole safetensors file: {error}") from error


def _torch_file(path: Path) -> tuple[Any, dict[str, Any]]:
    try:
        # of a path, torch would go by the suffix; timm and torchvision store their flags beside the weights
        with path.open("rb") as stream, safe_globals([(SimpleNamespace, "argparse.Namespace")]):
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if not (named := re.search(r"GLOBAL (\S+)", str(error))):
            raise ValueError(f"weights: {path} is no torch or safetensors file, or a damaged one") from error
        command = shlex.join(("python", "-c", _CONVERSION, str(path), f"{path}.plain.pt"))
        raise ValueError(
            f"weights: {path} holds objects of {named[1]}; what makes them is not run here. If you trust the file, "
            f"convert it where their packages are installed: {command}"
        ) from error
    except UNREADABLE as error:
        raise ValueError(f"weights: {path} is no torch or safetensors file, or a damaged one: {error!r}") from error
    return content, {"model": content.get("network")} if isinstance(content, dict) else {}


def _origin(said: Mapping[str, Any]) -> Origin:
    """Entries of these names by another program count for nothing."""
    model, classes, images = said.get("model"), said.get("classes"), said.get("input")
    try:
        config = ModelConfig(**model) if isinstance(model, dict) else None
        config = config and replace(config, options=tuple(map(str, config.options)) if config.options else None)
    except TypeError:
        config = None
    is_named = isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)
    return Origin(
        model=config,
        classes=tuple(cast("list[str]", classes)) if is_named else None,
        input=images if isinstance(images, dict) else {},
    )


def check(source: str, origin: ModelConfig | None, config: ModelConfig) -> None:
    """Check that weights are not of another network than they would go into, where their names do not show it.

    Raises:
        ValueError: They are; the message says how the networks differ.
    """
    differing = [option for option in UNSEEN if origin and getattr(origin, option) != getattr(config, option)]
    theirs, ours = (side.name.rpartition("/")[2] for side in (origin or config, config))  # of one name, one network
    if origin and theirs in TABLE and ours in TABLE and theirs != ours:
        raise ValueError(f"weights: {source} holds another network: {origin.name}, not {config.name}")
    if differing:
        there, here = (", ".join(f"{name} {getattr(side, name)}" for name in differing) for side in (origin, config))
        raise ValueError(f"weights: {source} holds another network: {there}, not {here}")

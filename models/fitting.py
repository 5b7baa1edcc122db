"""Weights under the names of a network, theirs or a reference's, and how they differ from it."""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from models import mapping
from models.config import ModelConfig
from models.table import TABLE

Head = Literal["keep", "new"]

_log = logging.getLogger(__name__)

AUXILIARY = "AuxLogits."
BATCHES = ".num_batches_tracked"  # a counter that nothing here reads, and old files lack
MODULES_SHOWN = 12  # an error fills one screen


def fit(network: nn.Module, state: Mapping[str, Tensor], config: ModelConfig, head: Head | None = "keep") -> bool:
    """Loads what `fitted` returns; returns whether the classifier has kept its initial weights.

    Raises:
        ValueError: As `fitted` does; nothing is then loaded.
    """
    renamed, is_new, notes = fitted(network, state, config, head)
    for note in notes:
        _log.info("weights: %s", note)
    network.load_state_dict(renamed)
    return is_new


def fitted(
    network: nn.Module, state: Mapping[str, Tensor], config: ModelConfig, head: Head | None = "keep"
) -> tuple[dict[str, Tensor], bool, list[str]]:
    """A state dict under a network's names, from one under ours or the reference's.

    Args:
        network: Of this config, which may be on the meta device.
        state: Its weights; numbers of batches may be missing.
        config: What the network was built from.
        head: new: the classifier keeps its initial weights. None: so does one whose number of classes differs.

    Returns:
        The state dict, whether the classifier's weights in it are the network's own, and what else is not the file's.

    Raises:
        ValueError: Keys are missing or unexpected, or shapes differ, listed by module.
    """
    expected, notes = network.state_dict(), list[str]()
    stored = _renamed(state, config.name, notes)
    if not any(key.startswith(AUXILIARY) for key in expected):
        stored = _without_auxiliary(stored, notes)
    heads, counters = classifiers(network), {key: value for key, value in expected.items() if key.endswith(BATCHES)}
    own = {key: expected[key] for head in heads for key in expected if key.startswith(f"{head}.")}
    if config.name.startswith("timm/"):
        classes = stored[f"{heads[0]}.weight"].shape[0] if f"{heads[0]}.weight" in stored else 0
        body = {key: value for key, value in expected.items() if key not in own and key not in counters}
        stored = _resampled(body, stored, replace(config, num_classes=classes), notes)
    differs = any(key not in stored or stored[key].shape != value.shape for key, value in own.items())
    is_new = head == "new" or (head is None and differs)
    if is_new:  # whatever the file has there, as the layers of a projection
        stored = {key: value for key, value in stored.items() if not key.startswith(tuple(f"{one}." for one in heads))}
    stored = {**counters, **stored, **(own if is_new else {})}
    problems = _misfits(expected, stored)
    if problems and all(line.startswith(AUXILIARY) and "missing" in line for line in problems):
        problems.append("the file has no auxiliary head: build the network with aux_logits False")
    if problems:
        raise ValueError("\n".join([f"weights: they do not fit {config.name}; nothing was loaded", *problems]))
    return stored, is_new, notes


def shapes(network: nn.Module, name: str) -> dict[str, torch.Size]:
    """The shapes of a network's weights by their names, ours and the reference's; it may be on the meta device."""
    own = {key: value for key, value in network.state_dict().items() if not key.endswith(BATCHES)}
    module = _module(name)
    both = {**mapping.to_reference(own, module), **mapping.from_reference(own, module)} if module else {}
    return {key: value.shape for key, value in {**both, **own}.items()}


def classifiers(network: nn.Module) -> list[str]:
    """Names of the layers whose outputs are the logits."""
    said = getattr(network, "pretrained_cfg", {}).get("classifier")  # of timm's networks
    if said:
        return [said] if isinstance(said, str) else list(said)
    leaves = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return [*leaves[-1:], *(name for name in leaves if name == f"{AUXILIARY}fc")]


def _module(name: str) -> str | None:
    """The module of ours that a network is made in, or of which it is the reference."""
    return next((row.module for own, row in TABLE.items() if name in (own, row.reference)), None)


def _renamed(state: Mapping[str, Tensor], name: str, notes: list[str]) -> dict[str, Tensor]:
    module = _module(name)
    if not module:
        return dict(state)
    if name not in TABLE:
        return mapping.to_reference(state, module)
    renamed = mapping.from_reference(state, module)
    if renamed.keys() != state.keys():
        notes.append(f"renamed from {TABLE[name].reference}")
    return renamed


def _without_auxiliary(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    kept = {key: value for key, value in state.items() if not key.startswith(AUXILIARY)}
    if len(kept) < len(state):
        notes.append("left out the auxiliary head, as this network has none")
    return kept


def _resampled(
    body: Mapping[str, Tensor], stored: dict[str, Tensor], config: ModelConfig, notes: list[str]
) -> dict[str, Tensor]:
    """The weights at the network's image size, where all have its names and some another size."""
    other = [key for key in body if key in stored and stored[key].shape != body[key].shape]
    is_wider = any(stored[key].ndim == 4 and stored[key].shape[:2] != body[key].shape[:2] for key in other)
    if not other or is_wider or body.keys() - stored.keys():
        return stored
    from models import reference  # imports timm and torchvision for seconds

    try:
        made = dict(reference.resampled(config, stored))
    except (RuntimeError, ValueError, LookupError, AttributeError, TypeError, AssertionError):
        return stored  # of another network: its shapes are listed
    grids = [f"{key.rpartition('.')[2]} from {_grid(stored[key])} to {_grid(made[key])}" for key in other]
    notes.append(f"position embeddings resampled: {', '.join(dict.fromkeys(grids))}")
    return made


def _grid(embeddings: Tensor) -> str:
    side = math.isqrt(embeddings.shape[-2])  # less than the next square's are class tokens
    return f"{side}x{side}"


def _misfits(expected: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> list[str]:
    """One line a module, at most a screen of them."""
    leaves: dict[str, list[str]] = defaultdict(list)
    for key in [*expected, *(key for key in stored if key not in expected)]:
        module, _, leaf = key.rpartition(".")
        if key not in stored:
            leaves[module].append(f"{leaf} is missing")
        elif key not in expected:
            leaves[module].append(f"{leaf} is unexpected")
        elif stored[key].shape != expected[key].shape:
            leaves[module].append(f"{leaf} is {list(stored[key].shape)}, not {list(expected[key].shape)}")
        elif stored[key].is_floating_point() != expected[key].is_floating_point():
            leaves[module].append(f"{leaf} is {stored[key].dtype}, not {expected[key].dtype}")
    lines = [f"{module or 'network'}: {', '.join(what)}" for module, what in leaves.items()]
    more = [f"and {len(lines) - MODULES_SHOWN} more modules"] if len(lines) > MODULES_SHOWN else []
    return lines[:MODULES_SHOWN] + more

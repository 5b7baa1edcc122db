"""Weights from a file or a hub into a network, whole or not at all."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models import mapping
from models.table import TABLE

_log = logging.getLogger(__name__)

HUBS = ("timm", "torchvision")
# Where training programs put a network's state dict in their checkpoints; raw weights before averaged ones.
ENTRIES = ("model", "state_dict", "ema", "model_ema", "state_dict_ema")
# What wrappers put before every key: DistributedDataParallel and AveragedModel, torch.compile, holders of an EMA.
PREFIXES = ("module.", "_orig_mod.", "ema_model.", "ema.", "model.")
UPDATES = "n_averaged"  # AveragedModel's counter, beside the keys
AUXILIARY = "AuxLogits."
BATCHES = ".num_batches_tracked"  # a counter that nothing here reads, and old files lack
MODULES_SHOWN = 12  # an error fills one screen


def load(network: nn.Module, source: str, name: str) -> None:
    """Puts trained weights into a network.

    Args:
        network: What `registry.build` returned.
        source: A file, or "timm" or "torchvision" for that package's hub.
        name: The network's name, which tells how a reference names its layers.

    Raises:
        ValueError: There are no such weights, or they do not fit; the network is then unchanged.
    """
    fit(network, _from_hub(source, name) if source in HUBS else read(Path(source)), name)


def read(path: Path) -> dict[str, Tensor]:
    """A file's state dict, wrappers' prefixes stripped; safetensors, or a torch file of plain data.

    Raises:
        ValueError: No such file, no state dict in it, or pickled objects, which are never run.
    """
    if not path.is_file():
        raise ValueError(f"weights: {path} is not a file; nor is it a hub ({', '.join(HUBS)})")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    return _stripped(_state_dict(content, path))


def fit(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Loads a state dict under our names or the reference's.

    Raises:
        ValueError: Keys are missing or unexpected, or shapes differ, listed by module; nothing is then loaded.
    """
    expected = network.state_dict()
    given = _renamed(state, name)
    if not any(key.startswith(AUXILIARY) for key in expected):
        given = _without_auxiliary(given)
    counters = {key: value for key, value in expected.items() if key.endswith(BATCHES)}
    given = {**counters, **given}
    found = _misfits(expected, given)
    if found:
        raise ValueError("\n".join([f"weights: they do not fit {name}; nothing was loaded", *found]))
    network.load_state_dict(given)


def _from_hub(package: str, name: str) -> dict[str, Tensor]:
    from models import reference  # imports timm and torchvision: 4 s that a file does not need

    name = name.rpartition("/")[2]  # timm/resnet18 is resnet18 there
    state = reference.pretrained(package, name)
    if (package, name) == ("torchvision", "inception_v3"):
        _log.warning("weights: torchvision's inception_v3 was trained on pixels of mean 0.5 and deviation 0.5")
    return state


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise ValueError(f"weights: {path} is not a safetensors file: {error}") from error


def _torch_file(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(
            f"weights: {path} is no torch file of plain tensors; what else it holds is not run. If you trust it, "
            "save its state dict alone: torch.save(model.state_dict(), path)"
        ) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"weights: {path} is not a torch file: {error}") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The content itself, or the entry of a checkpoint that holds the network."""
    if _is_state_dict(content):
        return content
    entries = [name for name in ENTRIES if isinstance(content, dict) and _is_state_dict(content.get(name))]
    if not entries:
        raise ValueError(f"weights: {path} holds no state dict, nor one under {', '.join(ENTRIES)}")
    others = f", not {', '.join(entries[1:])}" if entries[1:] else ""
    _log.info("weights: took %r of the checkpoint%s", entries[0], others)
    return content[entries[0]]


def _is_state_dict(content: object) -> bool:
    return isinstance(content, dict) and bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    keys = [key for key in state if key != UPDATES]
    for prefix in PREFIXES:
        if keys and all(key.startswith(prefix) for key in keys):
            _log.info("weights: stripped the prefix %r", prefix)
            return _stripped({key.removeprefix(prefix): state[key] for key in keys})
    return state


def _renamed(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    if name not in TABLE:
        return dict(state)
    given = mapping.from_reference(state, TABLE[name].module)
    if given.keys() != state.keys():
        _log.info("weights: renamed from %s", TABLE[name].reference)
    return given


def _without_auxiliary(state: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = {key: value for key, value in state.items() if not key.startswith(AUXILIARY)}
    if len(kept) < len(state):
        _log.info("weights: left out the auxiliary head, which this network has not")
    return kept


def _misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """One line a module, at most a screen of them."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in [*expected, *(key for key in given if key not in expected)]:
        module, _, leaf = key.rpartition(".")
        if key not in given:
            found[module].append(f"{leaf} is missing")
        elif key not in expected:
            found[module].append(f"{leaf} is unexpected")
        elif given[key].shape != expected[key].shape:
            found[module].append(f"{leaf} is {list(given[key].shape)}, not {list(expected[key].shape)}")
    lines = [f"{module}: {', '.join(leaves)}" for module, leaves in found.items()]
    more = [f"and {len(lines) - MODULES_SHOWN} more modules"] if len(lines) > MODULES_SHOWN else []
    return lines[:MODULES_SHOWN] + more

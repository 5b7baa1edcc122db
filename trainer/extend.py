"""What your own file (`--import`) registers by name; `trainer/EXTENDING.md` has examples. Loads no torch by itself.

Each refuses, by ValueError, a name that exists or has other characters than letters, digits, _ and -.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar, get_args

from data.plan.config import Policy
from data.plan.operations import POLICIES, Pair
from data.plan.operations import Op as Op  # for policies
from models.config import ModelConfig
from models.table import TABLE, Entry
from trainer.optim.config import LOSSES, OPTIMIZERS
from trainer.recipe.names import timm_methods

T = TypeVar("T", bound=Callable[..., Any])
_ALWAYS = ("num_classes", "in_channels")


def network(name: str, *, image_size: int = 224, num_classes: int = 1000, paper: str = "") -> Callable[[T], T]:
    """Register the decorated function or class as `model.name: NAME`.

    It is called with `num_classes`, `in_channels`, other fields of `model` that are its parameters and are set, and
    `model.options`; returns a module from images (N, in_channels, H, W) to logits (N, num_classes). The arguments are
    what `provenet models` shows: the usual images' side in pixels and classes, and a source.
    """

    def register(made_by: T) -> T:
        _check_free("network", name, TABLE)
        signature = inspect.signature(made_by)
        signature.bind_partial(**dict.fromkeys(_ALWAYS))
        ours = {each.name for each in fields(ModelConfig)}.intersection(signature.parameters).difference(_ALWAYS)
        shown = {"image_size": image_size, "num_classes": num_classes, "paper": paper}
        TABLE[name] = Entry(module="", build=made_by, options=(*sorted(ours), "options"), min_size=1, **shown)  # type: ignore[arg-type]
        return made_by

    return register


def policy(name: str, *pairs: Pair) -> None:
    """Register `input.augment.policy: NAME`; see `data.plan.operations.POLICIES` and `Own`."""
    _check_free("policy", name, (*get_args(Policy), *POLICIES))
    for pair in pairs or ((),):
        known = all((callable(op) or op in Op) and 0 <= share <= 1 and m in range(10) for op, share, m in pair)
        if len(pair) != 2 or not known:
            raise ValueError(f"policy {name!r}: {pair}; expected two of (operation, 0 to 1, 0 to 9)")
    POLICIES[name] = pairs


def loss(name: str) -> Callable[[T], T]:
    """Register the decorated function as `loss.name: NAME`; see `trainer.optim.config.LOSSES`."""

    def register(function: T) -> T:
        _check_free("loss", name, ("cross_entropy", "bce", *LOSSES))
        LOSSES[name] = function
        return function

    return register


def optimizer(name: str) -> Callable[[T], T]:
    """Register the decorated subclass of torch.optim.Optimizer as `optimizer: {name: timm, method: NAME}`.

    It is called with groups of weights, each with its `weight_decay`, with `lr`, and `optimizer.options`.
    """

    def register(kind: T) -> T:
        from torch.optim import Optimizer

        _check_free("optimizer", name, (*timm_methods(), *OPTIMIZERS))
        if Optimizer not in getattr(kind, "__mro__", ()):
            raise TypeError(f"optimizer {name!r}: expected a subclass of torch.optim.Optimizer")
        OPTIMIZERS[name] = kind
        return kind

    return register


def _check_free(kind: str, name: str, taken: Iterable[str]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(f"{kind} {name!r}: expected a name of letters, digits, _ and -")
    if name in taken:
        raise ValueError(f"{kind} {name!r}: there is one of this name already; choose another")

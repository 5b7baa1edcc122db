"""From a config to a network."""

import importlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from torch import nn

from models import registry
from models.config import ModelConfig, arguments, check_arguments
from models.table import TABLE
from models.user_code import located


def build(config: ModelConfig) -> nn.Module:
    """The network: images (N, in_channels, H, W) float -> logits (N, num_classes).

    The caller has checked that the values are in the ranges of `ModelConfig`.

    Raises:
        ValueError: The network is unknown or has no such option, or a user's cannot be built; one problem a line.
    """
    if problems := registry.option_problems(config):
        raise ValueError("\n".join(problems))
    if "/" in config.name:
        from models import reference  # loads timm and torchvision, which our own networks do without

        return reference.build(config)
    row = TABLE[config.name]
    common = {"num_classes": config.num_classes, "in_channels": config.in_channels}
    values = {**row.settings, **registry.options(config), **common}
    if row.build:
        return _users(row.build, config.name, values)
    module: Any = importlib.import_module(row.module)
    return module.build(**values)


def _users(made_by: Callable[..., Any], name: str, values: dict[str, Any]) -> nn.Module:
    try:
        more = arguments(values.pop("options", ()))
        check_arguments(more, made_by, [each.name for each in fields(ModelConfig)])
        network = made_by(**values, **more)
        if not isinstance(network, nn.Module):
            raise TypeError(f"returned a {type(network).__name__}; expected a torch.nn.Module")
    except Exception as error:  # of any kind, as it is a user's
        raise ValueError(f"model.name: {name} cannot be built: {located(error)}") from error
    return network

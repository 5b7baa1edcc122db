"""From a config to a network."""

import importlib
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from models import registry
from models.config import ModelConfig
from models.table import TABLE


def build(config: ModelConfig) -> nn.Module:
    """The network: images (N, in_channels, H, W) float -> logits (N, num_classes).

    Raises:
        ValueError: One problem a line.
    """
    found = [*_out_of_range(config), *registry.option_problems(config)]
    if found:
        raise ValueError("\n".join(found))
    if "/" in config.name:
        from models import reference  # loads timm and torchvision, which our own networks do without

        return reference.build(config)
    row = TABLE[config.name]
    module: Any = importlib.import_module(row.module)
    common = {"num_classes": config.num_classes, "in_channels": config.in_channels}
    return module.build(**{**row.settings, **registry.options(config), **common})


def _out_of_range(config: ModelConfig) -> list[str]:
    """Values outside the fields' ranges and choices; a recipe's decoder has checked them, a caller may not have."""
    found: list[str] = []
    choices = {name: get_args(kind) for name, kind in get_type_hints(ModelConfig).items()}
    for field in fields(config):
        value = getattr(config, field.name)
        literals = [get_args(kind) for kind in choices[field.name] if get_origin(kind) is Literal]
        if value is not None and literals and value not in literals[0]:
            found.append(f"model.{field.name}: {value!r} is none of {', '.join(map(repr, literals[0]))}")
        bounds = field.metadata if value is not None else {}
        if "min" in bounds and value < bounds["min"]:
            found.append(f"model.{field.name}: {value} is below {bounds['min']}")
        if "max" in bounds and value > bounds["max"]:
            found.append(f"model.{field.name}: {value} is above {bounds['max']}")
        if "below" in bounds and value >= bounds["below"]:
            found.append(f"model.{field.name}: {value} is not below {bounds['below']}")
    return found

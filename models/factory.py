"""From a config to a network."""

import importlib
from typing import Any

from torch import nn

from models import registry
from models.config import ModelConfig
from models.table import TABLE


def build(config: ModelConfig) -> nn.Module:
    """The network: images (N, in_channels, H, W) float -> logits (N, num_classes).

    The caller has checked that the values are in the ranges of `ModelConfig`.

    Raises:
        ValueError: The network is unknown or has no such option; one problem a line.
    """
    if problems := registry.option_problems(config):
        raise ValueError("\n".join(problems))
    if "/" in config.name:
        from models import reference  # loads timm and torchvision, which our own networks do without

        return reference.build(config)
    row = TABLE[config.name]
    module: Any = importlib.import_module(row.module)
    common = {"num_classes": config.num_classes, "in_channels": config.in_channels}
    return module.build(**{**row.settings, **registry.options(config), **common})

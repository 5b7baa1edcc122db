"""A folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads, as the Hugging Face hub keeps it."""

import json
import math
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from models import factory, mapping, registry
from models.config import ModelConfig
from models.fitting import AUXILIARY
from models.table import TABLE
from models.weights import Origin

# of timm's description of a network: the layers that it replaces for other images or classes, and defaults of the input
_KEPT = ("first_conv", "classifier", "fixed_input_size", "mean", "std", "crop_pct", "interpolation")


def write(network: nn.Module, origin: Origin, folder: Path, image_size: int) -> None:
    """Fill a new folder with the weights and timm's settings.

    Raises:
        ValueError: timm has no such network; nothing was written.
    """
    config = origin.model
    assert config
    theirs = _counterpart(config)
    row = TABLE.get(config.name)
    named = mapping.to_reference(network.state_dict(), row.module) if row else network.state_dict()
    state = {name: value.contiguous() for name, value in named.items() if not name.startswith(AUXILIARY)}
    try:
        factory.build(theirs).load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"--to: hub is what timm loads, and its {theirs.name} is another network: {reason}") from error
    folder.mkdir()
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt", **origin.metadata()})
    with (folder / "config.json").open("x", encoding="utf-8") as stream:
        json.dump(_settings(theirs, origin, image_size), stream, indent=2)


def _counterpart(config: ModelConfig) -> ModelConfig:
    """The network of timm with the same weights, as far as names say it.

    Raises:
        ValueError: There is none.
    """
    row = TABLE.get(config.name)
    name = f"timm/{((row.reference or '') if row else config.name).partition('/')[2].partition('.')[0]}"
    theirs = ModelConfig(
        name=name, num_classes=config.num_classes, in_channels=config.in_channels, img_size=config.img_size
    )
    if registry.option_problems(theirs):
        raise ValueError(f"--to: hub is what timm loads, and timm has no {config.name}; use --to safetensors")
    return theirs


def _settings(theirs: ModelConfig, origin: Origin, image_size: int) -> dict[str, Any]:
    """The content of config.json."""
    said: dict[str, Any] = getattr(factory.build(theirs), "pretrained_cfg", {})
    images: dict[str, Any] = {name: said[name] for name in _KEPT if said.get(name) is not None}
    images |= {name: origin.input[name] for name in ("mean", "std") if name in origin.input}
    if "eval_resize" in origin.input:
        images |= {"crop_pct": _share(image_size, origin.input["eval_resize"]), "interpolation": "bilinear"}
    own = {"img_size": theirs.img_size, "in_chans": theirs.in_channels if theirs.in_channels != 3 else None}
    return {
        "architecture": theirs.name.partition("/")[2],
        "num_classes": theirs.num_classes,
        **({"label_names": origin.classes} if origin.classes else {}),
        "model_args": {name: value for name, value in own.items() if value},
        "pretrained_cfg": {
            **images,
            "num_classes": theirs.num_classes,
            "input_size": (theirs.in_channels, image_size, image_size),
            "crop_mode": "center",
        },
    }


def _share(crop: int, resize: int) -> float:
    """The share from which timm, which rounds down, computes this size for the resize."""
    share = crop / resize
    return share if math.floor(crop / share) == resize else math.nextafter(share, 0)

"""A folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads, as the Hugging Face hub keeps it."""

import json
import math
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from models import factory, mapping, registry
from models.config import ModelConfig, arguments
from models.fitting import AUXILIARY
from models.table import TABLE
from models.weights import Origin

# of timm's description of a network: the layers that it replaces for other images or classes, and defaults of the input
_KEPT = ("first_conv", "classifier", "fixed_input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")


def write(network: nn.Module, origin: Origin, folder: Path, image_size: int) -> None:
    """Fill a new folder with the weights and timm's settings.

    Raises:
        ValueError: timm has no such network; nothing was written.
    """
    assert origin.model
    theirs = _counterpart(origin.model)
    row, twin = TABLE.get(origin.model.name), factory.build(theirs)
    state = mapping.to_reference(network.state_dict(), row.module if row else "")
    state = {name: value.contiguous() for name, value in state.items() if not name.startswith(AUXILIARY)}
    try:
        twin.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"--to: hub is what timm loads, and its {theirs.name} is another network: {reason}") from error
    folder.mkdir()
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt", **origin.metadata()})
    with (folder / "config.json").open("x", encoding="utf-8") as stream:
        json.dump(_settings(theirs, getattr(twin, "pretrained_cfg", {}), origin, image_size), stream, indent=2)


def _counterpart(config: ModelConfig) -> ModelConfig:
    """The network of timm with the same weights, as far as names say it."""
    row, same = TABLE.get(config.name), ("num_classes", "in_channels", "img_size", "options")
    name = ((row.reference or "") if row else config.name).partition("/")[2].partition(".")[0]
    theirs = ModelConfig(name=f"timm/{name}", **{field: getattr(config, field) for field in same})
    if registry.option_problems(theirs):
        raise ValueError(f"--to: hub is what timm loads, and timm has no {config.name}; use --to safetensors")
    return theirs


def _settings(theirs: ModelConfig, said: dict[str, Any], origin: Origin, side: int) -> dict[str, Any]:
    """The content of config.json."""
    images = {name: said[name] for name in _KEPT if said.get(name) is not None}
    images |= {name: origin.input[name] for name in ("mean", "std") if name in origin.input}
    if own := origin.image_size:
        resize = round(origin.input.get("eval_resize", own) * side / own)
        share = side / resize  # from which timm computes the resize again, rounding down
        share = share if math.floor(side / share) == resize else math.nextafter(share, 0)
        views = {"crop_mode": "center", "interpolation": "bilinear", **origin.input}
        images |= {"crop_pct": share, "crop_mode": views["crop_mode"], "interpolation": views["interpolation"]}
    images |= {"input_size": (theirs.in_channels, side, side)}
    return {
        "architecture": theirs.name.partition("/")[2],
        "num_classes": theirs.num_classes,
        **({"label_names": origin.classes} if origin.classes else {}),
        "model_args": {
            "in_chans": theirs.in_channels,
            **({"img_size": theirs.img_size} if theirs.img_size else {}),
            **arguments(theirs.options or ()),
        },
        "pretrained_cfg": {**images, "num_classes": theirs.num_classes},
    }

"""The commands of `python -m models`, as its command line takes them. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from models.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Model(ModelConfig):
    """A network, its name first."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = tyro.MISSING
    """A name of `python -m models list`, or timm/<name> or torchvision/<name>."""

    num_classes: int = 0
    """Classes; 0: as many as the paper's data set has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class List:
    """List names with parameters, FLOPs (multiply-adds of one image at the paper's size), paper and reference.

    Example: python -m models list resnet50
    """

    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATTERN")] = "*"
    """Part of a name, or a pattern with * and ?."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Show a network layer by layer: output shapes, parameters, multiply-adds, memory.

    Example: python -m models summary resnet50 --format keras
    """

    model: Annotated[Model, tyro.conf.arg(name="")]
    batch: int = 64
    """Images, at least 1; they scale the memory."""
    image_size: int | None = None
    """Side of the images, pixels, from the least that the network takes. None: the paper's."""
    format: Literal["table", "csv", "keras"] = "table"
    """table and csv as torchsummary counts, keras as Keras does (ResNet family)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Validate:
    """Compare a network with its public counterpart, weight for weight; exit code 1 on a difference.

    Example: python -m models validate resnet50
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """A name of `python -m models list`, or all."""
    image_size: int | None = None
    """Side of the images, pixels, from the least that the network takes. None: the paper's."""
    batch: int = 2
    """Images, at least 2."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """Write a trained network as a file, any batch size, and compare the file's logits with the network's.

    Example: python -m models export resnet50 --weights runs/r50/model.safetensors --to onnx
    """

    model: Annotated[Model, tyro.conf.arg(name="")]
    weights: str
    """A safetensors or torch file (ours, torchvision's or timm's), or timm or torchvision for their hubs."""
    to: Literal["onnx", "pt2", "safetensors"]
    """onnx: ONNX program. pt2: torch.export. safetensors: weights alone."""
    output: Path | None = None
    """Where it goes; NAME with the format as suffix where not given."""
    image_size: int | None = None
    """Side of the images, pixels, from the least that the network takes. None: the paper's."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

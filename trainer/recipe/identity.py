"""Hashes of recipes and weights. Loads no torch."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from trainer.recipe.config import Recipe
from trainer.recipe.decode import encode

LATER = {
    "gradient_checkpointing": False,
    "input.interpolation": "bilinear",
    "input.eval_interpolation": "bilinear",
    "input.augment.erasing_fill": "mean",
    "input.augment.randaugment_std": 0.0,
}
"""Settings that came after 0.1.0, with their defaults, at which they do not change the hash of a recipe."""


def recipe_hash(recipe: Recipe) -> str:
    """Hex digest of all fields: runs with the same digest are the same experiment, wherever their weights lay."""
    if recipe.init.sha256:
        recipe = replace(recipe, init=replace(recipe.init, weights=None, entry=None))
    values = encode(recipe)
    for path, default in LATER.items():
        *sections, name = path.split(".")
        section = reduce(getitem, sections, values)
        if section[name] == default:
            del section[name]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def weights_hash(file: Path) -> str:
    """Hex digest of the weights in a .safetensors file, as of `trainer.initial.fingerprint`.

    Raises:
        Exception: Of safetensors, where the file is damaged.
        OSError: It cannot be read.
    """
    return digest(
        (name, value.shape, f"torch.{value.dtype}", np.ascontiguousarray(value).tobytes())
        for name, value in sorted(load_file(file).items())
    )


def digest(weights: Iterable[tuple[str, tuple[int, ...], str, bytes | memoryview]]) -> str:
    """Hex digest of weights in the order of their names: of each its name, shape, PyTorch dtype, and bytes."""
    sha = hashlib.sha256()
    for name, shape, kind, content in weights:
        sha.update(f"{name} {shape} {kind}".encode())
        sha.update(content)
    return sha.hexdigest()

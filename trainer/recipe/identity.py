"""What makes two runs the same experiment, and two files the same weights. Loads no torch."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from trainer.recipe.config import Recipe
from trainer.recipe.decode import encode


def recipe_hash(recipe: Recipe) -> str:
    """Hex digest of every field: two runs with the same one are the same experiment."""
    return hashlib.sha256(json.dumps(encode(recipe), sort_keys=True).encode()).hexdigest()


def weights_hash(file: Path) -> str:
    """Hex digest of the weights in a .safetensors file, as `trainer.evaluation.trained_network.fingerprint` takes it.

    Raises:
        Exception: safetensors' own kinds, where the file is damaged.
        OSError: It cannot be read.
    """
    return digest(
        (name, value.shape, f"torch.{value.dtype}", np.ascontiguousarray(value).tobytes())
        for name, value in sorted(load_file(file).items())
    )


def digest(weights: Iterable[tuple[str, tuple[int, ...], str, bytes | memoryview]]) -> str:
    """Hex digest of weights in the order of their names: of each name, shape, PyTorch's name of its type, and bytes."""
    found = hashlib.sha256()
    for name, shape, kind, content in weights:
        found.update(f"{name} {shape} {kind}".encode())
        found.update(content)
    return found.hexdigest()

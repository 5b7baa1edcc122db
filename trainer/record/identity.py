"""What makes two runs the same experiment, and two files the same weights. Loads no torch."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from trainer.config import Recipe
from trainer.decode import encode


def recipe_hash(recipe: Recipe) -> str:
    """Hex digest of every field: two runs with the same one are the same experiment."""
    return hashlib.sha256(json.dumps(encode(recipe), sort_keys=True).encode()).hexdigest()


def weights_hash(file: Path) -> str:
    """Hex digest of the weights in a .safetensors file, as `trainer.evaluation.subject.fingerprint` takes it.

    Raises:
        Exception: safetensors' own kinds, where the file is damaged.
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    for name, value in sorted(load_file(file).items()):
        digest.update(f"{name} {value.shape} torch.{value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()

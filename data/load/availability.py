"""What this environment has. Standard library only."""

import importlib.util


def has_dali() -> bool:
    """Whether NVIDIA DALI is installed."""
    return bool(importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"))

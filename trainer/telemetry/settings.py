"""A recipe as a flat table of settings, by which TensorBoard and other trackers compare runs."""

from typing import Any

from trainer.recipe.config import Recipe
from trainer.recipe.decode import encode

FIRST = ("epochs", "global_batch", "model.name", "optimizer.lr", "seed")
"""What runs are most often told apart by."""


def leaves(recipe: Recipe) -> dict[str, bool | float | str]:
    """Every setting by its dotted name; lists as text."""
    return _leaves("", encode(recipe))


def _leaves(path: str, value: Any) -> dict[str, bool | float | str]:
    if isinstance(value, dict):
        found: dict[str, bool | float | str] = {}
        for name, item in value.items():
            found |= _leaves(f"{path}.{name}" if path else name, item)
        return found
    return {path: value if isinstance(value, bool | int | float | str) else " ".join(map(str, value))}

"""Settings back to the command line they stand for. Standard library only."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from trainer.recipe.decode import encode


def flags(config: Any) -> tuple[str, ...]:
    """The flags that give this flat dataclass, without those that have their default."""
    return tuple(word for field in fields(config) for word in _flag(field.name, field, getattr(config, field.name)))


def _flag(name: str, field: Any, value: Any) -> Iterator[str]:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    if value == default:
        return
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    else:
        yield f"--{flag}"
        yield from map(str, encode(value) if isinstance(value, tuple) else [encode(value)])

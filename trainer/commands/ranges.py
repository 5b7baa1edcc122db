"""The range of a setting in its help text, made from the field's metadata, where alone it is written."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo


def in_words(bounds: Mapping[str, float]) -> str:
    """`{"min": 1, "below": 10}` as "from 1, below 10"."""
    match bounds:
        case {"min": low, "max": high}:
            return f"{low:,} to {high:,}"
        case {"min": low, "below": high}:
            return f"from {low:,}, below {high:,}"
        case _:
            words = {"min": "at least", "above": "above", "max": "at most", "below": "below"}
            return ", ".join(f"{words[kind]} {bound:,}" for kind, bound in bounds.items())


def registry() -> ConstructorRegistry:
    """What tyro makes of a dataclass, each help text with the field's range behind it."""
    ours, asked = ConstructorRegistry(), set[Any]()

    @ours.struct_rule
    def with_ranges(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not dataclasses.is_dataclass(info.type) or info.type in asked:
            return None
        asked.add(info.type)
        spec = ConstructorRegistry.get_struct_spec(info)  # tyro's own rule, as ours gives None meanwhile
        asked.remove(info.type)
        if not isinstance(spec, StructConstructorSpec):
            return None
        bounds = {field.name: field.metadata for field in dataclasses.fields(info.type)}
        fields = [
            dataclasses.replace(field, helptext=_ranged(field.helptext, bounds[field.name])) for field in spec.fields
        ]
        return dataclasses.replace(spec, fields=tuple(fields))

    return ours


Text = str | Callable[[], str | None] | None


def _ranged(text: Text, bounds: Mapping[str, float]) -> Text:
    return (lambda: f"{text() if callable(text) else text} Range: {in_words(bounds)}.") if bounds else text

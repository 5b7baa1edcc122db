"""Decodes plain data into frozen dataclasses, strictly, and encodes them.

All problems are reported at once, each with the dotted path of the field, its value, what was expected and perhaps the
name that was probably meant. Ranges are in the fields' metadata: `min` and `max` are inclusive, `above` and `below`
exclusive; they apply to every element of a tuple.
"""

import dataclasses
import difflib
import math
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Problems = list[str]

_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "min": ("at least", lambda value, bound: value >= bound),
    "above": ("above", lambda value, bound: value > bound),
    "max": ("at most", lambda value, bound: value <= bound),
    "below": ("below", lambda value, bound: value < bound),
}


class InvalidConfigError(ValueError):
    """Configuration that cannot be used.

    Attributes:
        problems: One line each, for the user: dotted path, value, expectation, suggestion.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def decode(kind: type[T], data: object) -> T:
    """Build a dataclass, all of whose fields have defaults, from the result of a YAML or JSON reader.

    Raises:
        InvalidConfigError: One line for every unknown field, wrong type and value out of range.
    """
    problems: Problems = []
    value = _decode(kind, data, "", problems)
    if problems:
        raise InvalidConfigError(problems)
    return value


def encode(value: Any) -> Any:
    """Nested dicts, lists and scalars that `decode` turns into an equal value; None and empty sections are left out."""
    if dataclasses.is_dataclass(value):
        pairs = ((field.name, encode(getattr(value, field.name))) for field in dataclasses.fields(value))
        return {name: item for name, item in pairs if item is not None and item != {}}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def range_problems(config: object, path: str = "", *, flags: bool = False) -> Problems:
    """Problems of all values in a dataclass, nested ones too, that are outside their fields' ranges.

    `flags`: name fields as flags, `--log-every`, for settings that no file can hold.
    """
    assert dataclasses.is_dataclass(config)
    problems: Problems = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        here = f"--{field.name.replace('_', '-')}" if flags else _join(path, field.name)
        if dataclasses.is_dataclass(value):
            problems += range_problems(value, here)
        elif flags and value == "":
            problems.append(f"{here}: empty; leave it out or give a name")
        else:
            problems += _outside(value, field.metadata, here)
    return problems


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def leaves(encoded: Any, path: str = "") -> dict[str, Any]:
    """The values of an encoded config by dotted path."""
    if not isinstance(encoded, Mapping):
        return {path: encoded}
    return {name: leaf for key, item in encoded.items() for name, leaf in leaves(item, _join(path, key)).items()}


def differences(ours: Any, theirs: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Leaves of two encoded configs that differ: (dotted path, ours, theirs), None where one lacks the leaf."""
    if isinstance(ours, Mapping) or isinstance(theirs, Mapping):
        ours, theirs = ours or {}, theirs or {}  # a whole section may be left out
        both = (
            differences(ours.get(key), theirs.get(key), _join(path, key)) for key in dict.fromkeys([*ours, *theirs])
        )
        return [leaf for section in both for leaf in section]
    return [] if ours == theirs else [(path, ours, theirs)]


def _decode(kind: Any, data: object, path: str, problems: Problems) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        return _decode_union(get_args(kind), data, path, problems)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, path, problems)
    if get_origin(kind) is Literal:
        return _decode_choice(get_args(kind), data, path, problems)
    if get_origin(kind) is tuple:
        return _decode_tuple(get_args(kind), data, path, problems)
    return _decode_scalar(kind, data, path, problems)


def _decode_dataclass(kind: Any, data: object, path: str, problems: Problems) -> Any:
    if not isinstance(data, Mapping):
        problems.append(f"{path or 'recipe'}: {_show(data)}; expected a section with named fields")
        return None
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    count = len(problems)
    for key, item in data.items():
        here = _join(path, str(key))
        if key not in fields:
            problems.append(f"{here}: unknown{suggest(str(key), fields) or _list(fields)}")
            continue
        before = len(problems)
        values[key] = _decode(hints[key], item, here, problems)
        if len(problems) == before:
            problems += _outside(values[key], fields[key].metadata, here)
    return kind(**values) if len(problems) == count else None


def _decode_union(members: tuple[Any, ...], data: object, path: str, problems: Problems) -> Any:
    if type(None) in members:
        if data is None:
            return None
        rest = tuple(member for member in members if member is not type(None))
        return _decode(Union[rest], data, path, problems)  # noqa: UP007 - the members are a value
    by_name = {_tag(member): member for member in members}
    if not isinstance(data, Mapping) or "name" not in data:
        problems.append(f"{_join(path, 'name')}: missing; choose one of {', '.join(by_name)}")
        return None
    name = data["name"]
    if not isinstance(name, str) or name not in by_name:
        hint = suggest(str(name), by_name) or _list(by_name)
        problems.append(f"{_join(path, 'name')}: {_show(name)} is unknown{hint}")
        return None
    return _decode(by_name[name], data, path, problems)


def _decode_choice(choices: tuple[Any, ...], data: object, path: str, problems: Problems) -> Any:
    if data not in choices or isinstance(data, bool):
        hint = suggest(str(data), map(str, choices)) or _list(map(str, choices))
        problems.append(f"{path}: {_show(data)} is not a choice{hint}")
    return data


def _decode_tuple(members: tuple[Any, ...], data: object, path: str, problems: Problems) -> Any:
    variadic = members[-1] is Ellipsis
    if not isinstance(data, list | tuple) or not (variadic or len(data) == len(members)):
        count = "values" if variadic else f"{len(members)} values"
        problems.append(f"{path}: {_show(data)}; expected a list of {count}")
        return None
    kinds = members[:1] * len(data) if variadic else members
    return tuple(
        _decode(kind, item, f"{path}[{index}]", problems)
        for index, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


def _decode_scalar(kind: type, data: object, path: str, problems: Problems) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data) if abs(data) < 2**1023 else math.inf  # which no range admits
    if kind is Path and isinstance(data, str):
        return Path(data)
    if isinstance(data, kind) and not (isinstance(data, bool) and kind is not bool):
        return data
    wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}[kind]
    problems.append(f"{path}: {_show(data)}; expected {wanted}{_repair(kind, data)}")
    return None


def _repair(kind: type, data: object) -> str:
    if kind is int and isinstance(data, float) and data.is_integer():
        return f"; write {int(data)}"
    if kind in (int, float) and isinstance(data, str):
        try:
            return f"; write {kind(data)} without quotes"
        except ValueError:
            return ""
    return ""


def _outside(value: Any, bounds: Mapping[str, Any], path: str) -> Problems:
    if isinstance(value, tuple):
        items = ((item, f"{path}[{index}]") for index, item in enumerate(value))
        return [problem for item, here in items for problem in _outside(item, bounds, here)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    broken = any(not _BOUNDS[key][1](value, bounds[key]) for key in _BOUNDS if key in bounds)
    finite = isinstance(value, int) or math.isfinite(value)
    if finite and not broken:
        return []
    wanted = [
        *([] if finite else ["finite"]),
        *(f"{_BOUNDS[key][0]} {bounds[key]}" for key in _BOUNDS if key in bounds),
    ]
    return [f"{path}: {_show(value)}; must be {' and '.join(wanted)}"]


def _tag(kind: Any) -> str:
    return get_args(get_type_hints(kind)["name"])[0]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list(names: Iterable[str]) -> str:
    return f"; known: {', '.join(names)}"


def _show(data: object) -> str:
    if isinstance(data, int) and abs(data) >= 10**50:  # Python does not write out thousands of digits
        return "a number of over 50 digits"
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."

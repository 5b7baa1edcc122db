"""Recipes in YAML files, which state only departures from the defaults."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

import yaml

from trainer.recipe.config import Followed, Recipe
from trainer.recipe.decode import InvalidConfigError, decode, encode, leaves, suggest

FOLDER = files("trainer.recipe") / "yaml"  # a job imports the code from an archive
MOST_BYTES = 1_000_000  # of a file: a recipe has some thousand, and to parse 100 MB takes minutes and gigabytes
MOST_VALUES = 100_000  # in a file, as often as aliases repeat them: a file of 1 KB can stand for a billion


def names() -> list[str]:
    """Recipes that come with the project, sorted."""
    return sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml"))


def load(name: str, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        name: A name from `names()`, or the path of a YAML file, such as the `recipe.yaml` of a run directory.
        settings: Other values than the file's, by dotted path or in sections.

    Raises:
        InvalidConfigError: There is no such recipe, or the file or the settings hold problems; all of them are listed.
    """
    file = _find(name)
    data = read(file)
    try:
        recipe = decode(Recipe, {} if data is None else data)
    except InvalidConfigError as error:
        raise InvalidConfigError(f"{file}: {problem}" for problem in error.problems) from None
    if not settings:
        return recipe
    given = leaves(settings)
    data = reduce(lambda data, path: _changed(data, path.split("."), given[path]), given, data)
    return keeping(decode(Recipe, data), name, given)


def _changed(data: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of plain data with another value at a path."""
    if not path:
        return value
    section = data if isinstance(data, Mapping) else {}
    return {**section, path[0]: _changed(section.get(path[0]), path[1:], value)}


def keeping(recipe: Recipe, name: str, paths: Iterable[str]) -> Recipe:
    """A recipe that begins from weights, with the input settings in `init.keep` that a user states, defaults too.

    Args:
        recipe: What was made of both.
        name: Of its file, as `load` takes it.
        paths: Dotted paths of the fields that were given beside the file.
    """
    if not recipe.init.weights:
        return recipe
    stated = {*leaves(read(_find(name)) or {}), *paths, *(f"input.{field}" for field in recipe.init.keep or ())}
    keep = tuple(field for field in get_args(Followed) if f"input.{field}" in stated)
    return replace(recipe, init=replace(recipe.init, keep=keep or None))


def read(file: Traversable) -> Any:
    """The content of a YAML file, read strictly: no key twice, and numbers as in YAML 1.2.

    Raises:
        InvalidConfigError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            if (size := stream.seek(0, os.SEEK_END)) > MOST_BYTES:
                raise InvalidConfigError([f"{size:,} bytes; a file of settings has at most {MOST_BYTES:,}"])
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except InvalidConfigError as error:
        raise InvalidConfigError(f"{file}: {problem}" for problem in error.problems) from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise InvalidConfigError([f"{file}: not readable as YAML: {_reason(error)}"]) from None


def dump(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML that `load` reads back to an equal one."""
    return yaml.safe_dump(encode(recipe), sort_keys=False, default_flow_style=None, width=100)


def _find(name: str) -> Traversable:
    named, path = FOLDER / f"{name}.yaml", Path(name)
    if name in names():
        return named
    if os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file, no error for a name too long to be one
        return path
    if os.path.isdir(path):  # noqa: PTH112 - the same
        raise InvalidConfigError([f"recipe: {name!r} is a folder; name a YAML file in it, or one of {_known()}"])
    looks_like_path = "/" in name or name.endswith((".yaml", ".yml"))
    near = suggest(path.name.removesuffix(".yaml"), names())
    hint = near or ("; no such file" if looks_like_path else f"; known: {_known()}")
    raise InvalidConfigError([f"recipe: {name[:80]!r} is unknown{hint}"])


def _known() -> str:
    return ", ".join(names())


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars in place of PyYAML's 1.1, in which 1e-4 is text, 012 is ten and `no` is false.

    A duplicate key is an error.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _values(node, {}) > MOST_VALUES:
            raise InvalidConfigError([f"more than {MOST_VALUES:,} values, by aliases; write out what is meant"])
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [
            f"line {entry.start_mark.line + 1}: duplicate key {key}"
            for number, ((entry, _), key) in enumerate(zip(node.value, keys, strict=True))
            if key in keys[:number]
        ]
        if twice:
            raise InvalidConfigError(twice)
        return super().construct_mapping(node, deep)


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Values in a node, as often as aliases repeat them; too many in one that contains itself."""
    if node not in known:
        known[node] = MOST_VALUES + 1
        parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        known[node] = 1 + sum(_values(part, known) for part in parts if isinstance(part, yaml.Node))
    return known[node]


_EXPONENT = r"[eE][-+]?[0-9]+"
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", [*"-+0123456789"]),
    ("float", rf"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:{_EXPONENT})?|[0-9]+{_EXPONENT})", [*"-+.0123456789"]),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", [*"-+."]),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
)
for _name, _pattern, _first_characters in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first_characters)

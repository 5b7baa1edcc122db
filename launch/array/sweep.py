"""A sweep: a recipe, and the fields in which runs differ. Standard library and YAML only.

    recipe: cifar_resnet20            # name, or path as seen from this file
    grid:                             # every combination
      optimizer.lr: [0.05, 0.1]
      seed: [0, 1, 2]

or, instead of `grid`, a `list` of such settings, one entry a run. A whole section may be a value, as in
`optimizer: [{name: sgd, lr: 0.1}, {name: adamw, lr: 0.001}]`.
"""

import copy
import hashlib
import itertools
import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, decode, encode, leaves, suggest

MOST = 10_000  # runs; Slurm's own limit is 1,001 by default, and it says so itself

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A run of a sweep, as the table of results needs it."""

    name: str
    """Its folder, named by its settings."""
    settings: Settings
    """The fields of the recipe, by dotted path, in which it differs from other runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Member):
    """A run of a sweep with its whole recipe."""

    recipe: Recipe


def load(file: Path) -> list[Task]:
    """Read a sweep.

    Raises:
        InvalidConfigError: It cannot be read, or one of its runs is no recipe; all problems are listed.
    """
    content = _content(file)
    base = recipes.load(origin := _recipe_name(file, content["recipe"]))
    runs = _runs(file, content)
    names = _names(runs)
    tasks: list[Task] = []
    problems: list[str] = []
    for name, settings in zip(names, runs, strict=True):
        try:
            tasks.append(
                Task(
                    name=name,
                    settings=settings,
                    recipe=recipes.keeping(_changed(base, settings), origin, leaves(settings)),
                )
            )
        except InvalidConfigError as error:
            problems += [f"{file}: {name}: {problem}" for problem in error.problems]
    if problems:
        raise InvalidConfigError(dict.fromkeys(problems))
    return tasks


def _content(file: Path) -> Mapping[str, Any]:
    content = recipes.read(file)
    known = ("recipe", "grid", "list")
    if not isinstance(content, Mapping):
        raise InvalidConfigError([f"{file}: expected the fields recipe and grid, or recipe and list"])
    fields = cast("Mapping[str, Any]", content)
    unknown = [str(field) for field in fields if field not in known]
    hints = [suggest(field, known) or "; known: recipe, grid, list" for field in unknown]
    problems = [f"{file}: {field}: unknown{hint}" for field, hint in zip(unknown, hints, strict=True)]
    if not isinstance(fields.get("recipe"), str):
        problems.append(f"{file}: recipe: missing; name the recipe that the runs have in common")
    if ("grid" in fields) == ("list" in fields):
        problems.append(f"{file}: give a grid or a list, one of them")
    if problems:
        raise InvalidConfigError(problems)
    return fields


def _recipe_name(file: Path, name: str) -> str:
    beside = os.path.join(file.parent, name)  # noqa: PTH118 - and PTH113: no error for a name too long to be a path
    return beside if name not in recipes.names() and os.path.isfile(beside) else name  # noqa: PTH113


def _runs(file: Path, content: Mapping[str, Any]) -> list[Settings]:
    runs = _grid(file, content["grid"]) if "grid" in content else _list(file, content["list"])
    if twice := [run for index, run in enumerate(runs) if run in runs[:index]]:
        raise InvalidConfigError([f"{file}: holds {twice[0]} twice"])
    return runs


def _grid(file: Path, grid: object) -> list[Settings]:
    if not isinstance(grid, Mapping) or not grid:
        raise InvalidConfigError([f"{file}: grid: expected fields of the recipe, each with a list of values"])
    axes = cast("Mapping[str, Any]", grid)
    wrong = [
        f"{file}: grid.{name}: " + ("holds no value" if values == [] else f"expected a list of values: [{values}]")
        for name, values in axes.items()
        if not isinstance(values, list) or not values
    ]
    if wrong:
        raise InvalidConfigError(wrong)
    _check_count(file, math.prod(map(len, axes.values())))
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _list(file: Path, entries: object) -> list[Settings]:
    runs = cast("list[Settings]", entries) if isinstance(entries, list) else []
    if not runs or not all(isinstance(entry, dict) for entry in runs):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidConfigError([f"{file}: list: expected one entry a run, each with fields of the recipe"])
    _check_count(file, len(runs))
    return runs


def _check_count(file: Path, count: int) -> None:
    if count > MOST:
        raise InvalidConfigError([f"{file}: makes {count:,} runs; use at most {MOST:,}"])


def _changed(base: Recipe, settings: Settings) -> Recipe:
    data: Settings = copy.deepcopy(encode(base))
    # sections, then their fields
    for path, value in sorted(settings.items(), key=lambda item: str(item[0]).count(".")):
        *sections, field = str(path).split(".")
        fields = data
        for section in sections:
            if not isinstance(fields.setdefault(section, {}), dict):
                raise InvalidConfigError([f"{path}: {section} is no section of a recipe"])
            fields = cast("Settings", fields[section])
        fields[field] = copy.deepcopy(value)  # other runs share it
    return decode(Recipe, data)


def _names(runs: list[Settings]) -> list[str]:
    """A short and unique name of a folder for each run."""
    paths = list(dict.fromkeys(path for run in runs for path in run))
    last = [str(path).rpartition(".")[2] for path in paths]
    short = {path: name if last.count(name) == 1 else str(path) for path, name in zip(paths, last, strict=True)}
    names = [",".join(f"{short[path]}={_label(value)}" for path, value in run.items()) or "recipe" for run in runs]
    names = [re.sub(r"[^A-Za-z0-9._=,+-]", "_", name)[:150] for name in names]
    counts = Counter(names)
    hashes = [hashlib.sha256(json.dumps(run, default=str).encode()).hexdigest()[:8] for run in runs]
    return [name if counts[name] == 1 else f"{name}-{digest}" for name, digest in zip(names, hashes, strict=True)]


def _label(value: object) -> str:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return "+".join(_label(item) if name == "name" else f"{name}{_label(item)}" for name, item in fields.items())
    if isinstance(value, list):
        return "+".join(map(_label, cast("list[object]", value)))
    return str(value)

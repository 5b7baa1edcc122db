"""No modules import each other in a circle, and no folders.

Imports inside functions and under TYPE_CHECKING count, and names of modules that are given to `import_module`.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {
    path.relative_to(ROOT).as_posix().removesuffix(".py"): path
    for room in ("launch", "trainer", "models", "data")
    for path in (ROOT / room).rglob("*.py")
    if path.name != "__init__.py"
}

Graph = Mapping[str, set[str]]


def imported(text: str) -> Iterator[str]:
    """Modules that a file may import, as paths; some are attributes of modules, which no file has."""
    calls_by_name = "import_module(" in text
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                yield from (alias.name.replace(".", "/") for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield module.replace(".", "/")
                yield from (f"{module}.{alias.name}".replace(".", "/") for alias in node.names)
            case ast.Constant(value=str(name)) if calls_by_name:
                yield name.replace(".", "/")


@cache
def modules() -> dict[str, set[str]]:
    """Each module and those that it imports."""
    return {
        name: {other for other in imported(path.read_text()) if other in FILES} - {name} for name, path in FILES.items()
    }


def folders(graph: Graph) -> Iterator[dict[str, set[str]]]:
    """For each folder: which of the modules and folders in it import which, theirs within counted as theirs."""
    levels = defaultdict[str, dict[str, set[str]]](lambda: defaultdict(set))
    for name, others in graph.items():
        for other in others:
            ours, theirs = name.split("/"), other.split("/")
            depth = next(level for level, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
            inside = levels["/".join(ours[:depth])]
            inside["/".join(ours[: depth + 1])].add("/".join(theirs[: depth + 1]))
    return iter(levels.values())


def circles(graph: Graph) -> set[frozenset[str]]:
    """Groups of nodes that reach each other."""
    reached, grown = {node: set(others) for node, others in graph.items()}, True
    while grown:
        further = {node: far.union(*(reached.get(other, ()) for other in far)) for node, far in reached.items()}
        reached, grown = further, further != reached
    return {
        frozenset(other for other in far if node in reached.get(other, ()))
        for node, far in reached.items()
        if node in far
    }


def test_a_circle_is_found_and_what_only_leads_to_it_is_not_in_it() -> None:
    graph = {"a/x": {"a/y", "b/z"}, "a/y": {"a/z"}, "a/z": {"a/x"}, "b/z": {"a/w"}, "a/w": set[str](), "c/v": {"a/x"}}
    assert circles(graph) == {frozenset({"a/x", "a/y", "a/z"})}
    found = {circle for level in folders(graph) for circle in circles(level)}
    assert found == {frozenset({"a", "b"}), frozenset({"a/x", "a/y", "a/z"})}


def test_imports_are_found_wherever_they_stand() -> None:
    text = """
from typing import TYPE_CHECKING
import models.table
from trainer.recipe import config
from data.plan import crops as cutting
if TYPE_CHECKING:
    from trainer.checkpoint.files import newest_first
def later():
    from launch import cli
    return importlib.import_module("models.resnet")
"""
    assert {name for name in imported(text) if name in FILES} == {
        "models/table",
        "trainer/recipe/config",
        "data/plan/crops",
        "trainer/checkpoint/files",
        "launch/cli",
        "models/resnet",
    }


def test_no_files_import_each_other() -> None:
    assert circles(modules()) == set()


def test_no_folders_import_each_other() -> None:
    assert set[frozenset[str]]().union(*map(circles, folders(modules()))) == set()

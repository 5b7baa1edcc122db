"""Rules of the house that no linter holds."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("launch", "trainer", "models", "data")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 250, "split it by ideas; a section of a recipe can have its own file"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_fits_the_eye(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if node.end_lineno and node.end_lineno - node.lineno >= 45] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=name)
def test_a_package_s_init_holds_a_docstring_and_nothing_else(path: Path) -> None:
    (statement,) = ast.parse(path.read_text()).body
    assert isinstance(statement, ast.Expr)


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [name(path) for path in FILES + TESTS if path.stem in ("utils", "helpers", "common", "misc")] == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_test_lies_and_is_named_as_its_file_and_may_add_a_topic(room: str) -> None:
    strays = []
    for test in sorted((ROOT / "tests" / room).rglob("test_*.py")):
        files = {path.stem for path in (ROOT / test.parent.relative_to(ROOT / "tests")).glob("*.py")}
        stem = test.stem.removeprefix("test_")
        if not any(stem == file or stem.startswith(f"{file}_") for file in files):
            strays.append(name(test))
    assert strays == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_ours_and_not_another_distribution_s(room: str) -> None:
    file = importlib.import_module(room).__file__
    assert file is not None
    assert Path(file).parent == ROOT / room


USERS = {"trainer/doctor/rig.py", "trainer/commands/doctor.py", "trainer/exits.py"}
"""Files that write outside of run directories and data sets: where the user has named, or in a private folder."""


def writes(node: ast.Call) -> bool:
    """Whether it opens a file to write it, in a way that follows a symbolic link."""
    if not isinstance(node.func, ast.Attribute):
        return False
    given = [value.value for value in node.args if isinstance(value, ast.Constant)]
    modes = [text for text in given if isinstance(text, str) and set(text) <= set("rwaxbt+")]
    flags = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    if node.func.attr == "open":
        return any(set(mode) & set("wa+") for mode in modes) or ("O_CREAT" in flags and "O_NOFOLLOW" not in flags)
    return node.func.attr in ("write_text", "write_bytes")


@pytest.mark.parametrize("path", [path for path in FILES if name(path) not in USERS], ids=name)
def test_no_file_is_written_through_a_symbolic_link(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    assert [node.lineno for node in nodes if isinstance(node, ast.Call) and writes(node)] == []

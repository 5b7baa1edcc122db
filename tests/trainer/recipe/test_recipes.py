import dataclasses
import re
from pathlib import Path

import pytest

from trainer.optim.config import SgdConfig
from trainer.recipe import recipes
from trainer.recipe.checks import recipe_problems
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, range_problems


def load_text(folder: Path, text: str) -> Recipe:
    file = folder / "a.yaml"
    file.write_text(text)
    return recipes.load(str(file))


def problems_of(folder: Path, text: str) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        load_text(folder, text)
    assert all(problem.startswith(str(folder / "a.yaml")) for problem in caught.value.problems)
    return str(caught.value)


@pytest.mark.parametrize("name", recipes.names())
def test_each_recipe_that_comes_along_is_sound_and_short(name: str) -> None:
    loaded = recipes.load(name)
    text = (recipes.FOLDER / f"{name}.yaml").read_text()
    assert range_problems(loaded) + recipe_problems(loaded) == []
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize("name", recipes.names())
def test_a_dumped_recipe_loads_as_the_same(name: str, tmp_path: Path) -> None:
    assert load_text(tmp_path, recipes.dump(recipes.load(name))) == recipes.load(name)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_text(tmp_path, "# nothing but the defaults\n") == Recipe()


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("5E2", 5e2), ("1.e-4", 1e-4), (".5", 0.5), ("3", 3.0), ("+2.5e+1", 25.0)],
)
def test_numbers_are_read_as_yaml_1_2_reads_them(tmp_path: Path, text: str, value: float) -> None:
    assert load_text(tmp_path, f"optimizer: {{name: sgd, lr: {text}}}").optimizer == SgdConfig(lr=value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs: 012", "epochs: '012'; expected a whole number; write 12 without quotes"),  # 10 in YAML 1.1
        ("epochs: 1:30", "epochs: '1:30'; expected a whole number"),  # 90 in YAML 1.1
        ("sync_bn: no", "sync_bn: 'no'; expected true or false"),  # false in YAML 1.1
        ("optimizer: {name: sgd, lr: .inf}", "optimizer.lr: inf; must be finite and above 0"),
        ("optimizer: {name: sgd, lr: 1e30}", "optimizer.lr: 1e+30; must be above 0 and at most 1000"),
        (
            "optimizer: {name: sgd, weight_decay: 1e18}",
            "optimizer.weight_decay: 1e+18; must be at least 0 and at most 10",
        ),
        ("epochs: 2021-01-01", "epochs: '2021-01-01'; expected a whole number"),
        ("epochs: 3\nseed: 1\nepochs: 4", "line 3: duplicate key epochs"),
        ("optimizer: {lr: 1, lr: 2}", "line 1: duplicate key lr"),
        ("epochs: [3", "not readable as YAML"),
        ("epochs: 3\n\tseed: 1", "not readable as YAML"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML"),
        ("- epochs", "recipe: ['epochs']; expected a section with named fields"),
        ("input:", "input: None; expected a section with named fields"),
    ],
)
def test_yaml_that_would_surprise_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems_of(tmp_path, text)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InvalidConfigError, match=r"recipe: 'resnet5O' is unknown; did you mean resnet50\?"):
        recipes.load("resnet5O")
    with pytest.raises(InvalidConfigError, match=r"recipe: '/nowhere/x.yaml' is unknown; no such file"):
        recipes.load("/nowhere/x.yaml")


def test_a_recipe_has_few_fields_for_each_is_a_promise() -> None:
    def leaves(kind: object) -> int:
        assert dataclasses.is_dataclass(kind)
        values = (getattr(kind, field.name) for field in dataclasses.fields(kind))
        return sum(leaves(value) if dataclasses.is_dataclass(value) else 1 for value in values)

    full = "each field more has to be agreed on first: .github/CONTRIBUTING.md, A field of the recipe"
    assert leaves(Recipe()) <= 80 + 1, full  # `code`, which no recipe states


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("schedule: {name: [step]}", "schedule.name: ['step'] is unknown"),
        (f"optimizer: {{name: sgd, lr: 1{'0' * 400}}}", "optimizer.lr: inf; must be finite"),
        (f"epochs: 1{'0' * 400}", "epochs: a number of over 50 digits"),
        (f"epochs: 1{'0' * 5000}", "not readable as YAML"),
        ("[" * 3000, "not readable as YAML: nested too deeply"),
        ("epochs: [1", "not readable as YAML: line 1, column 11: expected ',' or ']'"),
        ("epochs: \x00", "not readable as YAML"),
    ],
)
def test_what_would_break_a_reader_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    message = problems_of(tmp_path, text)
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 3000])
def test_a_name_too_long_to_be_a_file_is_unknown(name: str) -> None:
    with pytest.raises(InvalidConfigError, match="is unknown"):
        recipes.load(name)


def test_other_files_are_read_as_strictly(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("grid: {lr: [1e-4, 012], flip: [no, false]}\n")
    assert recipes.read(file) == {"grid": {"lr": [1e-4, "012"], "flip": ["no", False]}}
    file.write_text("")
    assert recipes.read(file) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: 1\nseed: 2\n", "FILE: line 2: duplicate key seed"),
        ("a: [1", "FILE: not readable as YAML: line 1, column 6: expected ',' or ']'"),
        (None, "FILE: not readable as YAML: [Errno 2] No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "sweep.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidConfigError, match=re.escape(problem.replace("FILE", str(file)))):
        recipes.read(file)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB + "epochs: *a8\n", "FILE: more than 100,000 values, by aliases"),
        ("epochs: &loop [*loop]\n", "FILE: more than 100,000 values, by aliases"),
        ("# " + "x" * 1_000_000, "FILE: 1,000,002 bytes; a file of settings has at most 1,000,000"),
    ],
)
def test_a_small_file_cannot_take_all_memory(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(text)
    with pytest.raises(InvalidConfigError, match=re.escape(problem.replace("FILE", str(file)))):
        recipes.read(file)


def test_aliases_are_read_where_they_are_few(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("list: [&one {seed: 1}, *one]\n")
    assert recipes.read(file) == {"list": [{"seed": 1}, {"seed": 1}]}

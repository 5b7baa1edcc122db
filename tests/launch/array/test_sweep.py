import re
from pathlib import Path

import pytest

from launch.array import sweep
from launch.array.sweep import MOST, Task
from trainer.optim.config import SgdConfig
from trainer.recipe import recipes
from trainer.recipe.decode import InvalidConfigError


def load(folder: Path, text: str) -> list[Task]:
    (folder / "lr.yaml").write_text(text, encoding="utf-8")
    return sweep.load(folder / "lr.yaml")


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        load(folder, text)
    return caught.value.problems


def test_a_grid_is_every_combination_of_its_values(tmp_path: Path) -> None:
    tasks = load(tmp_path, "recipe: demo\ngrid:\n  optimizer.lr: [0.05, 1e-1]\n  seed: [0, 1]\n")
    assert [task.name for task in tasks] == ["lr=0.05,seed=0", "lr=0.05,seed=1", "lr=0.1,seed=0", "lr=0.1,seed=1"]
    assert tasks[1].settings == {"optimizer.lr": 0.05, "seed": 1}
    assert [(task.recipe.optimizer.lr, task.recipe.seed) for task in tasks] == [
        (0.05, 0),
        (0.05, 1),
        (0.1, 0),
        (0.1, 1),
    ]
    assert {task.recipe.epochs for task in tasks} == {recipes.load("demo").epochs}


def test_a_list_is_one_run_an_entry(tmp_path: Path) -> None:
    tasks = load(tmp_path, "recipe: demo\nlist:\n- {epochs: 2, optimizer.lr: 0.2}\n- {epochs: 4}\n- {}\n")
    assert [task.name for task in tasks] == ["epochs=2,lr=0.2", "epochs=4", "recipe"]
    assert [task.recipe.epochs for task in tasks] == [2, 4, 9]


def test_a_section_may_be_a_value(tmp_path: Path) -> None:
    tasks = load(tmp_path, "recipe: demo\ngrid:\n  optimizer: [{name: sgd, lr: 0.1}, {name: adamw, lr: 0.001}]\n")
    assert [task.name for task in tasks] == ["optimizer=sgd+lr0.1", "optimizer=adamw+lr0.001"]
    assert [(task.recipe.optimizer.name, task.recipe.optimizer.lr) for task in tasks] == [
        ("sgd", 0.1),
        ("adamw", 0.001),
    ]
    assert tasks[0].recipe.optimizer == SgdConfig(lr=0.1)  # nothing of the recipe's own section is left


@pytest.mark.parametrize("section_first", [True, False])
def test_a_field_of_a_section_that_is_a_value_too_changes_that_and_no_other_run(
    tmp_path: Path, section_first: bool
) -> None:
    axes = ["  optimizer: [{name: sgd}, {name: adamw}]\n", "  optimizer.lr: [0.5, 0.25]\n"]
    tasks = load(tmp_path, "recipe: demo\ngrid:\n" + "".join(axes if section_first else reversed(axes)))
    found = {(task.recipe.optimizer.name, task.recipe.optimizer.lr) for task in tasks}
    assert found == {("sgd", 0.5), ("sgd", 0.25), ("adamw", 0.5), ("adamw", 0.25)}
    assert all(task.settings["optimizer"] in ({"name": "sgd"}, {"name": "adamw"}) for task in tasks)


def test_a_recipe_is_found_beside_the_sweep_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "mine.yaml").write_text("epochs: 3\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (task,) = load(tmp_path, "recipe: bases/mine.yaml\nlist: [{seed: 1}]\n")
    assert task.recipe.epochs == 3


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("grid: {optimizer.lr: [0.1], schedule.warmup_epochs: [1]}", ["lr=0.1,warmup_epochs=1"]),
        ("grid: {model.name: [resnet18, resnet50]}", ["name=resnet18", "name=resnet50"]),
        ("grid: {input.crop_area: [[0.1, 1.0], [0.2, 1.0]]}", ["crop_area=0.1+1.0", "crop_area=0.2+1.0"]),
        ("list: [{ema.decay: null}, {clip_norm: null}]", ["decay=None", "clip_norm=None"]),
    ],
)
def test_a_run_is_named_by_what_sets_it_apart(tmp_path: Path, text: str, names: list[str]) -> None:
    content = sweep._content(written(tmp_path, f"recipe: demo\n{text}\n"))
    assert sweep._names(sweep._runs(tmp_path, content)) == names


def written(folder: Path, text: str) -> Path:
    (folder / "lr.yaml").write_text(text, encoding="utf-8")
    return folder / "lr.yaml"


@pytest.mark.parametrize(
    "values",
    [
        ["a/b", "a;b", "a b", "a_b"],
        ["../../x", "..", "~", "-rf"],
        ["it's $(touch pwned)", "it's `touch pwned`", "a\nb", "a\\b", "50%"],
        ["x" * 300 + "1", "x" * 300 + "2"],
        ["ü", "ö"],
        ["a/b", "a;b", "a_b-0", "a_b-1"],
    ],
)
def test_names_are_safe_and_no_two_alike_whatever_the_values(values: list[str]) -> None:
    runs = [{"model.name": value} for value in values]
    names = sweep._names(runs)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"name=[A-Za-z0-9._=,+-]{0,160}", name) for name in names)
    assert sweep._names([*runs[::-1], {"model.name": "another"}])[:-1] == names[::-1]  # a run keeps its name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n", "FILE: expected the fields recipe and grid, or recipe and list"),
        ("grid: {seed: [1]}\n", "FILE: recipe: missing; name the recipe that the runs have in common"),
        ("recipe: demo\ngird: {seed: [1]}\n", "FILE: gird: unknown; did you mean grid?"),
        ("recipe: demo\nepochs: 3\nlist: [{}]\n", "FILE: epochs: unknown; known: recipe, grid, list"),
        ("recipe: demo\n", "FILE: give a grid or a list, one of them"),
        ("recipe: demo\ngrid: {seed: [1]}\nlist: [{seed: 1}]\n", "FILE: give a grid or a list, one of them"),
        ("recipe: demo\ngrid: [1]\n", "FILE: grid: expected fields of the recipe, each with a list of values"),
        ("recipe: demo\ngrid: {seed: 1}\n", "FILE: grid.seed: expected a list of values: [1]"),
        ("recipe: demo\ngrid: {seed: []}\n", "FILE: grid.seed: holds no value"),
        ("recipe: demo\nlist: {seed: 1}\n", "FILE: list: expected one entry a run, each with fields of the recipe"),
        ("recipe: demo\nlist: [1]\n", "FILE: list: expected one entry a run, each with fields of the recipe"),
        ("recipe: demo\ngrid: {seed: [1, 1]}\n", "FILE: holds {'seed': 1} twice"),
        ("recipe: demo\nlist: [{seed: 1, epochs: 2}, {epochs: 2, seed: 1}]\n", "twice"),
        ("recipe: demmo\nlist: [{}]\n", "recipe: 'demmo' is unknown; did you mean demo?"),
        (f"recipe: {'x' * 5000}\nlist: [{{}}]\n", "is unknown"),
        ("recipe: demo\ngrid: {seed: [1], seed: [2]}\n", "FILE: line 2: duplicate key seed"),
        ("recipe: demo\ngrid: {optimizer.rl: [1]}\n", "FILE: rl=1: optimizer.rl: unknown; known: lr"),
        ("recipe: demo\ngrid: {sead: [1]}\n", "FILE: sead=1: sead: unknown; did you mean seed?"),
        ("recipe: demo\ngrid: {seed.x: [1]}\n", "FILE: x=1: seed.x: seed is no section of a recipe"),
        ("recipe: demo\nlist: [{1: 2}]\n", "FILE: 1=2: 1: unknown"),
        ("recipe: demo\ngrid: {epochs: [1, two]}\n", "FILE: epochs=two: epochs: 'two'; expected a whole number"),
        ("recipe: demo\ngrid: {epochs: [0]}\n", "FILE: epochs=0: epochs: 0; must be at least 1"),
    ],
)
def test_what_is_no_sweep_is_refused_with_file_and_run(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert expected.replace("FILE", str(tmp_path / "lr.yaml")) in " / ".join(found)


def test_a_grid_too_large_is_counted_rather_than_made(tmp_path: Path) -> None:
    values = ", ".join(map(str, range(1000)))
    axes = "".join(f"  {name}: [{values}]\n" for name in ("seed", "epochs", "global_batch", "micro_batch"))
    assert problems(tmp_path, f"recipe: demo\ngrid:\n{axes}") == [
        f"{tmp_path}/lr.yaml: makes 1,000,000,000,000 runs; use at most {MOST:,}"
    ]


def test_all_problems_of_all_runs_are_listed(tmp_path: Path) -> None:
    found = problems(tmp_path, "recipe: demo\nlist: [{epochs: 0}, {seed: -1, epochs: 0}, {seed: 1}]\n")
    assert [line.split(": ")[1] for line in found] == ["epochs=0", "seed=-1,epochs=0", "seed=-1,epochs=0"]

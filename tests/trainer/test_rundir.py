from dataclasses import replace
from pathlib import Path

import pytest

from trainer import recipe
from trainer.config import Recipe, SgdConfig
from trainer.rundir import RunDirectory


def test_a_folder_that_does_not_exist_or_is_empty_can_be_used(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path / "a" / "b").problems(Recipe()) == []
    assert RunDirectory(tmp_path).problems(Recipe()) == []
    assert list(tmp_path.iterdir()) == []


def test_the_same_recipe_goes_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.begin(Recipe(epochs=3))
    assert run.problems(Recipe(epochs=3)) == []
    assert recipe.load(str(run.recipe)) == Recipe(epochs=3)


def test_another_recipe_is_refused_and_the_fields_are_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.begin(Recipe(epochs=3))
    (problem,) = run.problems(replace(Recipe(epochs=4), optimizer=SgdConfig(lr=0.7)))
    assert "holds a run of another recipe" in problem
    assert "epochs: 3 there, 4 asked for" in problem
    assert "optimizer.lr: 0.1 there, 0.7 asked for" in problem


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        (problem,) = RunDirectory(path).problems(Recipe())
        assert f"{tmp_path / 'file'} is a file; name a folder" in problem


def test_parts_of_a_run_without_its_recipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (problem,) = RunDirectory(tmp_path).problems(Recipe())
    assert "holds checkpoints but no recipe.yaml" in problem


def test_a_damaged_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("epochs: many")
    (problem,) = RunDirectory(tmp_path).problems(Recipe())
    assert "epochs: 'many'; expected a whole number" in problem


@pytest.mark.parametrize("tail", ["", '{"kind": "train", "st'])
def test_a_line_that_a_kill_cut_short_is_no_record(tmp_path: Path, tail: str) -> None:
    run = RunDirectory(tmp_path)
    run.metrics.write_text('{"kind": "start"}\n{"kind": "train"}\n' + tail)
    assert [record["kind"] for record in run.records()] == ["start", "train"]

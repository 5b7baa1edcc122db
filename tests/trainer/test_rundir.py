import os
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.optim.config import SgdConfig
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory

IMAGES = Path("/images")


def test_a_folder_that_does_not_exist_or_is_empty_can_be_used(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path / "a" / "b").problems(Recipe(), IMAGES) == []
    assert RunDirectory(tmp_path).problems(Recipe(), IMAGES) == []
    assert list(tmp_path.iterdir()) == []


def test_the_same_recipe_goes_on(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.begin(Recipe(epochs=3))
    assert run.problems(Recipe(epochs=3), IMAGES) == []
    assert recipes.load(str(run.recipe)) == Recipe(epochs=3)


def test_another_recipe_is_refused_and_the_fields_are_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.make()
    run.begin(Recipe(epochs=3))
    (problem,) = run.problems(replace(Recipe(epochs=4), optimizer=SgdConfig(lr=0.7)), IMAGES)
    assert "holds a run of another recipe" in problem
    assert "epochs: 3 there, 4 asked for" in problem
    assert "optimizer.lr: 0.1 there, 0.7 asked for" in problem
    assert problem.endswith("nothing has been trained there: remove that folder, or name another --output")
    run.checkpoints.mkdir()
    (problem,) = run.problems(Recipe(epochs=4), IMAGES)
    assert f"to train that network on, name another --output, and --init.weights {tmp_path}" in problem
    assert "nothing has been trained" not in problem


@pytest.mark.parametrize(
    ("there", "asked", "kept"),
    [("a", "b", True), ("a", None, True), (None, "b", False)],
    ids=["edited", "out", "added"],
)
def test_where_only_the_files_of_code_differ_it_says_so(
    tmp_path: Path, there: str | None, asked: str | None, kept: bool
) -> None:
    stored, recipe = (Recipe(code=(one * 64,) if one else None) for one in (there, asked))
    run = RunDirectory(tmp_path)
    run.make()
    run.recipe.write_text(recipes.dump(stored))
    run.checkpoints.mkdir()
    (problem,) = run.problems(recipe, IMAGES)
    assert "only a file of --import differs" in problem
    assert (f"is kept there: --import {tmp_path / 'code-'}{'a' * 64}.py" in problem, "--smoke" in problem) == (
        kept,
        False,
    )
    assert ("kept there" in problem) == kept
    (problem,) = run.problems(replace(recipe, epochs=3), IMAGES)
    assert ("only a file" in problem, "kept there" in problem, "--smoke" in problem) == (False, kept, True)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        (problem,) = RunDirectory(path).problems(Recipe(), IMAGES)
        assert f"{tmp_path / 'file'} is a file; name a folder" in problem


def test_parts_of_a_run_without_its_recipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-0000000001").mkdir(parents=True)
    (problem,) = RunDirectory(tmp_path).problems(Recipe(), IMAGES)
    assert "holds checkpoints but no recipe.yaml" in problem


def test_what_a_start_leaves_that_was_stopped_before_its_recipe_was_written_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    run.make()
    run.holder.touch()
    (tmp_path / ".recipe.yaml.tmp").touch()
    assert not run.problems(Recipe(), IMAGES)
    monkeypatch.chdir(tmp_path)
    assert not RunDirectory(Path()).problems(Recipe(), IMAGES)


def test_a_damaged_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("epochs: many")
    (problem,) = RunDirectory(tmp_path).problems(Recipe(), IMAGES)
    assert "epochs: 'many'; expected a whole number" in problem


@pytest.mark.parametrize("tail", ["", '{"kind": "train", "st'])
def test_a_line_that_a_kill_cut_short_is_no_record(tmp_path: Path, tail: str) -> None:
    run = RunDirectory(tmp_path)
    run.metrics.write_text('{"kind": "start", "step": 0}\n{"kind": "train", "step": 1}\n' + tail)
    assert [record["kind"] for record in run.records()] == ["start", "train"]


def test_a_line_in_the_middle_that_is_damaged_costs_that_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunDirectory(tmp_path)
    run.metrics.write_bytes(b'{"kind": "start", "step": 0}\n\x00\xff\n{"step": 3}\n{"kind": "train", "step": 4}\n')
    assert [record["step"] for record in run.records()] == [0, 4]
    assert [f"line {number} is damaged" in text for number, text in zip((2, 3), caplog.messages, strict=True)] == [
        True
    ] * 2


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.result.write_text("{")
    with pytest.raises(InvalidConfigError, match=r"result.json: damaged"):
        run.finished()


@pytest.mark.parametrize("inner", [".", "train/run"])
def test_a_run_among_the_images_is_refused(tmp_path: Path, inner: str) -> None:
    (problem,) = RunDirectory(tmp_path / inner).problems(Recipe(), tmp_path)
    assert "lies in the images' folder" in problem


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    root = os.getuid() == 0
    try:
        if root:
            os.setreuid(65534, -1)  # who asks; root may write anywhere
        (problem,) = RunDirectory(tmp_path / "run").problems(Recipe(), IMAGES)
    finally:
        if root:
            os.setreuid(0, -1)
    assert f"{tmp_path} cannot be written to" in problem


def test_the_current_folder_with_other_files_in_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letter.txt").touch()
    monkeypatch.chdir(tmp_path)
    (problem,) = RunDirectory(Path()).problems(Recipe(), IMAGES)
    assert "is the current folder, which holds other files" in problem


def test_a_file_for_checkpoints_is_refused(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.make()
    run.begin(Recipe())
    run.checkpoints.touch()
    (problem,) = run.problems(Recipe(), IMAGES)
    assert "checkpoints is a file" in problem


def test_a_folder_of_runs_is_no_place_for_one_more_among_them(tmp_path: Path) -> None:
    for name in ("r18", "r50"):
        run = RunDirectory(tmp_path / name)
        run.make()
        run.begin(Recipe())
    (problem,) = RunDirectory(tmp_path).problems(Recipe(), IMAGES)
    assert problem == f"--output: {tmp_path} holds other runs (r18, r50); name a folder for this one in it"
    assert RunDirectory(tmp_path / "r34").problems(Recipe(), IMAGES) == []


@pytest.mark.parametrize(
    ("left", "short"),
    [
        (("page",), False),
        ((), True),  # killed before the page was written
        (("page", "holder"), True),  # killed after it
        (("page", "at_work"), True),
        (("page", "no weights"), True),  # deleted since
        (("page of a stop",), True),
    ],
)
def test_the_end_of_a_finished_run_may_have_been_cut_short(left: tuple[str, ...], short: bool, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for file, written in ((run.result, 100), (run.page, 101 if "page" in left else 99)):
        if file == run.result or "page" in str(left):
            file.touch()
            os.utime(file, (written, written))
    if "no weights" not in left:
        run.weights.touch()
    if "holder" in left:
        run.holder.touch()
    if "at_work" in left:
        run.at_work.mkdir()
    assert run.is_cut_short() == short


def test_what_killed_writers_have_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = {"recipe.yaml", "metrics.jsonl", ".hidden", "mine.tmp"}
    for name in (*kept, ".report.html.tmp", ".manifest-train.npz.17.tmp"):
        (tmp_path / name).touch()
    RunDirectory(tmp_path).clear()
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_run_goes_on_though_the_folder_it_was_started_in_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.begin(Recipe())
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run.problems(Recipe(), tmp_path / "images") == []

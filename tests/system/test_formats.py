"""Runs of released versions are read, reported on and gone on with; and what is written is what FORMATS.md says."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.catalog import manifest
from launch import attempts
from launch.attempts import Attempt, End
from launch.cli import main as launch
from launch.submission import LaunchFolder, Submission
from models import factory
from models.config import ModelConfig
from tests import commands
from tests.fixtures.reading import unpack, versions
from trainer.checkpoint import files, holder_file
from trainer.commands.cli import main as trainer
from trainer.evaluation import predictions
from trainer.rundir import RunDirectory

PAGE = Path(__file__).parents[2] / "trainer" / "FORMATS.md"
FREE = ("packages", "recipe", "request", "site")  # whose keys are names of other things


@pytest.fixture(params=versions())
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A finished run of an earlier version."""
    return unpack(request.param, tmp_path)


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that an earlier version began and this one finished, and evaluated."""
    run = unpack(versions()[0], tmp_path_factory.mktemp("old"))
    cut(run)
    words = ("--data", run.parent / "images", "--threads", 1)
    done = commands.call(trainer, "train", run / "recipe.yaml", "--output", run, "--log-every", 1, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on after step 2" in done.stdout
    shutil.rmtree(run / "evaluations")
    done = commands.call(trainer, "evaluate", run, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def cut(run: Path) -> None:
    """As if it had been killed in its second epoch."""
    for name in ("result.json", "model.safetensors", "holder.json"):
        (run / name).unlink()
    shutil.rmtree(files.newest_first(run / "checkpoints")[0])


def test_there_is_a_run_of_the_first_version() -> None:
    assert "0.1.0" in versions()


def test_its_checkpoints_are_valid(old: Path) -> None:
    done = commands.call(trainer, "checkpoints", old)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" yes") == 2
    assert "the run goes on from step-0000000004" in done.stdout


def test_its_report_is_written_anew(old: Path) -> None:
    done = commands.call(trainer, "report", old)
    assert done.returncode == 0, done.stderr
    page = (old / "report.md").read_text()
    assert "| top-1 | **100.00 %** |" in page
    assert "resize-32" in page
    assert (old / "report.html").exists()
    assert (old / "curves.png").exists()


def test_its_state_is_shown(old: Path) -> None:
    done = commands.call(launch, "status", old.parent, "--json")
    (row,) = json.loads(done.stdout)
    assert (row["state"], row["step"], row["total_steps"], row["top1"]) == ("finished", 4, 4, 100.0)


def test_its_lists_answers_and_records_load(old: Path) -> None:
    images = manifest.load(old / "manifest-train.npz", old.parent / "images" / "train")
    assert (len(images), images.classes, images.path(8).name) == (16, ("blue", "red"), "00.JPEG")
    result = RunDirectory(old).finished()
    assert result is not None
    assert images.fingerprint() == result["train_sha256"]
    (answers,) = [predictions.load(file) for file in old.rglob("predictions.npz")]
    assert (len(answers), answers.about["protocol"]) == (8, "resize-32")
    submission = LaunchFolder(old).submission()
    assert submission is not None
    assert submission.kind == "local"
    (attempt,) = attempts.read(LaunchFolder(old).attempts)
    assert attempt.end is not None
    assert attempt.end.then == "done"
    holder = holder_file.look(old / "holder.json").holder
    assert holder is not None
    assert holder.pid == 1


def test_its_weights_load_as_the_page_says(old: Path) -> None:
    network = factory.build(ModelConfig(name="resnet20", num_classes=2))
    for file in (old / "model.safetensors", old / "checkpoints/step-0000000004/ema.safetensors"):
        network.load_state_dict(load_file(file))
    state = torch.load(old / "checkpoints/step-0000000004/state.pt", weights_only=True)
    assert (state["step"], state["evaluated"]) == (4, 2)


def test_it_goes_on_where_it_was_killed(gone_on: Path) -> None:
    run = RunDirectory(gone_on)
    assert run.finished() is not None
    steps = [record["step"] for record in run.records() if record["kind"] == "train"]
    assert steps == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl", "checkpoints/step-0000000004/manifest.json"])
def test_a_run_of_a_newer_version_is_refused_by_the_file_and_left_alone(old: Path, name: str) -> None:
    if name != "result.json":
        (old / "result.json").unlink()
    (old / "holder.json").unlink()
    file = old / name
    first, *more = file.read_text().splitlines() if name.endswith("l") else [file.read_text()]
    file.write_text("\n".join([json.dumps({**json.loads(first), "schema": 9}), *more, ""]))
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    recipe = old / "recipe.yaml"
    done = commands.call(trainer, "train", recipe, "--data", old.parent / "images", "--output", old)
    assert done.returncode == 2
    assert f"{file}: schema 9, this version reads up to" in commands.said(done).replace("- ", "-")
    assert "use the version of Provenet that wrote it" in commands.said(done)
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def section(title: str) -> set[str]:
    """Every name that a section of the page mentions."""
    (found,) = re.findall(rf"^## `{re.escape(title)}`\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", found))


def names(content: Any) -> Iterable[str]:
    """Fields of a nested record."""
    if isinstance(content, dict):
        for name, item in content.items():
            yield name
            if name not in FREE:
                yield from names(item)


def keys(run: Path, pattern: str) -> set[str]:
    """Fields of every file of a kind."""
    found: set[str] = set()
    for file in run.glob(pattern):
        lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
        for line in lines:
            found |= set(names(json.loads(line)))
    assert found
    return found


@pytest.mark.parametrize(
    ("title", "pattern"),
    [
        ("metrics.jsonl", "metrics.jsonl"),
        ("result.json", "result.json"),
        ("evaluation.json", "evaluations/*/evaluation.json"),
        ("checkpoints/step-*", "checkpoints/*/manifest.json"),
        ("launch/", "launch/submission.json"),
        ("launch/", "launch/attempts.jsonl"),
    ],
)
def test_the_page_names_every_field_that_is_written(gone_on: Path, title: str, pattern: str) -> None:
    assert keys(gone_on, pattern) - section(title) == set()


def test_the_page_names_every_array_and_key_that_is_written(gone_on: Path) -> None:
    for title, pattern in (("manifest-*.npz", "manifest-*.npz"), ("predictions.npz", "evaluations/*/predictions.npz")):
        for file in gone_on.glob(pattern):
            with np.load(file) as stored:
                assert set(stored.files) == set(stored.files) & section(title)
    state = torch.load(gone_on / "checkpoints/step-0000000004/state.pt", weights_only=True)
    own = {*state, *state["ranks"], *state["scores"], *state["scores"]["raw"]}
    assert own - section("checkpoints/step-*") == set()


def test_the_page_names_what_is_written_by_other_runs_than_these() -> None:
    for title, kind in (
        ("holder.json", holder_file.Holder),
        *(("launch/", kind) for kind in (Submission, Attempt, End)),
    ):
        assert {field.name for field in fields(kind)} - {"end"} <= section(title)


def test_the_page_names_every_file_of_a_run(gone_on: Path) -> None:
    page = PAGE.read_text()
    patterns = [name.rstrip("/") for name in re.findall(r"`([^`\n]+)`", page)]
    strays = [path.name for path in gone_on.iterdir() if not any(path.match(pattern) for pattern in patterns)]
    assert [name for name in strays if name not in ("checkpoints", "evaluations")] == []

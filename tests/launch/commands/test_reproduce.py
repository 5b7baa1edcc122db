import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from launch.cli import main
from launch.commands.reproduce import SWEEP
from launch.run_state import UnderWay
from tests import commands
from trainer.stopping import START_AGAIN

SMALL = """# Seconds on a core.
model: {name: resnet20, num_classes: 4}
input: {train_size: 32, eval_resize: 36, eval_crop: 32}
epochs: 2
global_batch: 16
micro_batch: 8
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


@pytest.mark.slow
def test_seeds_are_queued_come_back_to_and_reported(recipe: Path, images: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    words = (recipe, "--data", images, "--output", root, "--seeds", "2", "--cluster", "local")
    first = commands.run("launch", "reproduce", *words, "--", "--threads", "1", "--parallel", "2")
    assert first.returncode == START_AGAIN, first.stdout + first.stderr
    rows = json.loads(commands.run("launch", "status", root, "--json").stdout)
    assert {row["state"] for row in rows} <= {*get_args(UnderWay), "finished"}
    again = commands.run("launch", "reproduce", *words, "--wait", "--", "--threads", "1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 runs, 2 of them finished, running or queued" in again.stdout
    results = [json.loads((root / f"seed={seed}" / "result.json").read_text()) for seed in (0, 1)]
    assert [result["seed"] for result in results] == [0, 1]
    assert f"{sum(result['top1'] for result in results) / 2:.2f} +- " in again.stdout
    assert "not comparable" in again.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["resnet5", "--data", "IMAGES", "--output", "OUT"], "recipe: 'resnet5' is unknown; did you mean resnet50"),
        (["RECIPE", "--data", "IMAGES", "--output", "OUT", "--seeds", "0"], "--seeds: 0; must be at least 1"),
        (["RECIPE", "--data", "NOWHERE", "--output", "OUT", "--cluster", "local"], "--data: NOWHERE does not exist"),
        (["RECIPE", "--data", "IMAGES", "--output", "RECIPE"], "--output: RECIPE is a file; name a folder"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_and_leaves_nothing(
    words: list[str], expected: str, recipe: Path, images: Path, tmp_path: Path
) -> None:
    words = [commands.placed(word, images, tmp_path).replace("RECIPE", str(recipe)) for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "launch", "reproduce", *words], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    wanted = commands.placed(expected, images, tmp_path).replace("RECIPE", str(recipe))
    assert wanted in commands.said(done)
    assert list(tmp_path.iterdir()) == [recipe]


def test_another_sweep_s_folder_is_refused(recipe: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / SWEEP).write_text("recipe: resnet50\ngrid:\n  seed: [0]\n")
    done = commands.call(main, "reproduce", recipe, "--data", images, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "is of another recipe or other seeds; name another folder" in done.stderr


def test_flags_that_the_launcher_does_not_know_leave_nothing(recipe: Path, images: Path, tmp_path: Path) -> None:
    place = ("--data", images, "--output", tmp_path / "runs", "--cluster", "local")
    assert commands.run("launch", "reproduce", recipe, *place, "--", "--no-such-flag").returncode == 2
    assert list(tmp_path.iterdir()) == [recipe]

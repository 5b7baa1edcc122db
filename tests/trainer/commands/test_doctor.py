import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.commands import HANGS_S
from tests.system import forks
from trainer.commands.cli import main
from trainer.commands.doctor import DoctorSite
from trainer.recipe.config import SiteConfig

SMALL = (
    *("doctor", "demo", "--model.name", "resnet20", "--model.num-classes", "4", "--input.train-size", "32"),
    *("--input.eval-resize", "36", "--input.eval-crop", "32", "--precision", "bf16"),
)
FEW = ("--global-batch", "16", "--micro-batch", "8")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--seconds", "0.5"], "--seconds: 0.5; must be at least 1"),
        (["--smoke"], "--smoke: the doctor trains nothing"),
        (["--profile", "3"], "--profile: "),
        (["--json", "/no/such/folder/x.json"], "--json: /no/such/folder/x.json cannot be a file"),
        (["--manifests", "/tmp"], "--manifests: has no effect without --data"),
        (["--data", "/no/such/images"], "--data: /no/such/images does not exist"),
        (["--micro-batch", "7"], "micro_batch: 7 does not divide global_batch: 64"),
        (["--threads", "0"], "--threads: 0; must be at least 1"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *arguments]) == 2
    assert problem in capsys.readouterr().err


def test_it_takes_all_settings_of_a_run_and_makes_a_runs_of_them(tmp_path: Path) -> None:
    assert {field.name for field in fields(DoctorSite)} == {"seconds", *(field.name for field in fields(SiteConfig))}
    placed = DoctorSite(threads=3, save_steps=7, data=Path("a"), output=tmp_path / "not" / "there").placed()
    assert placed == SiteConfig(data=Path("a"), output=tmp_path / ".doctor", threads=3, save_steps=7)
    assert DoctorSite().placed().output.parent == Path(tempfile.gettempdir())


def test_the_recipe_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--seconds", "3"]) == 2
    assert "RECIPE: comes first" in capsys.readouterr().err


def start(folder: Path, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> "subprocess.Popen[str]":
    command = (*launcher, "-m", "trainer", *SMALL, *FEW, "--output", str(folder / "run"), *arguments)
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    return forks.begin(command, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def found(folder: Path, *arguments: str, **options: Any) -> dict[str, Any]:
    """What the doctor wrote of a run beside `folder`/run, and that it left nothing else there."""
    process = start(folder, "--json", str(folder / "found.json"), *arguments, **options)
    output, errors = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, errors
    assert sorted(path.name for path in folder.iterdir()) == ["found.json"]
    result = json.loads((folder / "found.json").read_text())
    assert result["headline"] in output
    return result


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_doctor_that_is_sent_away_leaves_nothing_behind(images: Path, tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "--data", str(images), "--seconds", "60")
    assert process.stderr
    for line in process.stderr:
        if "loader and step" in line:
            break
    assert [path.name[:8] for path in tmp_path.iterdir()] == [".doctor-"]
    process.send_signal(number)
    process.communicate(timeout=HANGS_S)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_several_processes_are_seen_together(images: Path, tmp_path: Path) -> None:
    torchrun = (str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc-per-node", "2")
    result = found(tmp_path, "--data", str(images), "--threads", "1", "--seconds", "3", launcher=torchrun)
    assert result["figures"]["place"]["world_size"] == 2
    assert result["figures"]["reduction"]["bytes"] == 4 * 269_332  # ResNet-20 for four classes
    assert result["figures"]["reduction"]["seconds"] > 0


@pytest.mark.slow
def test_without_images_some_are_drawn(tmp_path: Path) -> None:
    result = found(tmp_path, "--threads", "1", "--seconds", "2", "--no-try")
    assert "no --data was given" in result["notes"][0]
    assert result["figures"]["images"]["train"] == 1_281_167
    assert result["trial"] is None
    assert {"machine", "diagnosis", "advice", "epoch"} <= result.keys()

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import tyro

from trainer.checkpoint import store
from trainer.commands.checkpoints import Checkpoints, age
from trainer.recipe.config import Recipe
from trainer.rundir import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with checkpoints of steps 10 and 20, the first evaluated; an epoch is 10 steps."""
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    run.begin(Recipe())
    for step, top1 in ((10, 61.25), (20, None)):
        network = {"model": {"w": torch.tensor([float(step)])}, "ema": {"w": torch.tensor([step + 0.5])}}
        store.write(run.checkpoints, step, {**network, "about": {"model": "resnet50"}, "step": step}, top1)
    run.metrics.write_text(json.dumps({"kind": "eval", "step": 10, "epoch": 1}) + "\n")
    return run


def command(run: RunDirectory, *flags: str) -> int:
    return tyro.cli(Checkpoints, args=[str(run.path), *flags]).run()


def test_all_are_listed_and_verified(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(run) == 0
    head, newer, older, start = capsys.readouterr().out.splitlines()
    assert head.split() == ["checkpoint", "step", "epoch", "top-1,", "%", "MB", "age", "files", "valid"]
    files = ["model.safetensors", "ema.safetensors", "state.pt"]
    assert newer.split()[:5] == ["step-0000000020", "20", "2", "-", "0.0"]
    assert newer.split()[7:] == [*files, "yes"]
    assert older.split()[:5] == ["step-0000000010", "10", "1", "61.25", "0.0"]
    assert start == "the run goes on from step-0000000020"


def test_a_damaged_one_is_told_and_a_restart_passes_it_over(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(run.checkpoints / "step-0000000020" / "state.pt", 100)
    (run.checkpoints / "step-0000000030.tmp").mkdir()
    assert command(run) == 1
    _, newer, _, unfinished, start = capsys.readouterr().out.splitlines()
    assert newer.endswith("no: state.pt differs from the manifest")
    assert unfinished.startswith("step-0000000030.tmp: a write under way or cut short")
    assert start == "the run goes on from step-0000000010"


def test_one_without_a_manifest_is_a_row_as_well(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    (run.checkpoints / "step-0000000020" / "manifest.json").unlink()
    assert command(run) == 1
    assert "no: FileNotFoundError" in capsys.readouterr().out.splitlines()[1]


def test_a_run_without_checkpoints_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    run.begin(Recipe())
    assert command(run) == 1
    assert capsys.readouterr().out == "the run goes on from step 0: there is no valid checkpoint\n"


@pytest.mark.parametrize(
    ("flags", "value", "said"),
    [
        ((), 20.0, "the weights at step 20"),
        (("--step", "10"), 10.0, "the weights at step 10"),
        (("--step", "10", "--ema"), 10.5, "the moving average of the weights at step 10"),
    ],
)
def test_weights_are_exported(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], value: float, said: str
) -> None:
    file = run.path.parent / "out.safetensors"
    assert command(run, "--export", str(file), *flags) == 0
    assert safetensors.torch.load_file(file)["w"].tolist() == [value]
    assert capsys.readouterr().out == f"{file}: {said}\n"
    assert not list(file.parent.glob("*.tmp"))


def test_the_newest_valid_one_is_exported(run: RunDirectory) -> None:
    os.truncate(run.checkpoints / "step-0000000020" / "state.pt", 100)
    file = run.path.parent / "out.safetensors"
    assert command(run, "--export", str(file)) == 0
    assert safetensors.torch.load_file(file)["w"].tolist() == [10.0]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--step", "10"], "--step: says what to export; add --export FILE.safetensors"),
        (["--ema"], "--ema: says what to export"),
        (["--export", "out.pt"], "--export: out.pt has to end in .safetensors"),
        (["--export", "{run}/missing/out.safetensors"], "missing is not a folder"),
        (["--export", "{run}/there.safetensors"], "there.safetensors exists; name another file"),
        (["--export", "{run}/out.safetensors", "--step", "11"], "no checkpoint of step 11; there are 20, 10"),
        (["--export", "{run}/out.safetensors", "--step", "20"], "step-0000000020 is damaged: state.pt differs"),
        (["--export", "{run}/out.safetensors", "--step", "10", "--ema"], "step-0000000010 holds no moving average"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], flags: list[str], problem: str
) -> None:
    os.truncate(run.checkpoints / "step-0000000020" / "state.pt", 100)
    store.write(run.checkpoints, 10, {"model": {"w": torch.zeros(1)}, "about": {}})
    (run.path / "there.safetensors").write_text("mine")
    assert command(run, *(flag.format(run=run.path) for flag in flags)) == 2
    assert problem in capsys.readouterr().err
    assert (run.path / "there.safetensors").read_text() == "mine"
    assert not (run.path / "out.safetensors").exists()


def test_another_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(RunDirectory(tmp_path)) == 2
    assert "is not a run directory: it holds no recipe.yaml" in capsys.readouterr().err


def test_listing_and_exporting_load_no_torch(run: RunDirectory) -> None:
    code = f"""
import sys, tyro
from trainer.commands.checkpoints import Checkpoints
for flags in ([], ["--export", "{run.path}/out.safetensors"]):
    assert tyro.cli(Checkpoints, args=["{run.path}", *flags]).run() == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2 h"), (172_800, "2 days")],
)
def test_an_age_is_in_a_unit_that_fits(seconds: float, text: str) -> None:
    assert age(seconds) == text

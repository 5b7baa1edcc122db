import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from data.workers import cores
from trainer.commands.cli import main
from trainer.doctor import model
from trainer.doctor.advice import advise
from trainer.doctor.figures import Change, Figures, Job, Pace, Passes, Place, Reduction, Saving

SMALL = (
    *("doctor", "demo", "--model.name", "resnet20", "--model.num-classes", "4", "--input.train-size", "32"),
    *("--input.eval-resize", "36", "--input.eval-crop", "32", "--precision", "bf16"),
)


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


def test_the_recipe_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--seconds", "3"]) == 2
    assert "RECIPE: comes first" in capsys.readouterr().err


def start(folder: Path, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*launcher, "-m", "trainer", *SMALL, "--output", str(folder / "run"), *arguments],
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def found(folder: Path, *arguments: str, **options: Any) -> dict[str, Any]:
    """What the doctor wrote of a run beside `folder`/run, and that it left nothing else there."""
    process = start(folder, "--json", str(folder / "found.json"), *arguments, **options)
    output, errors = process.communicate(timeout=240)
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
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def read(figures: dict[str, Any]) -> Figures:
    """What was measured, as the doctor's file holds it."""

    def part(kind: type[Any], values: dict[str, Any] | None) -> Any:
        return None if values is None else kind(**values)

    changes = [
        Change(**{**change, **{name: part(Pace, change[name]) for name in ("load", "step", "together")}})
        for change in figures["changes"]
    ]
    paces = {name: Pace(**figures[name]) for name in ("load", "step", "together", "evaluation")}
    kinds = {"place": Place, "job": Job, "saving": Saving, "reduction": Reduction, "passes": Passes}
    parts = {name: part(kind, figures[name]) for name, kind in kinds.items()}
    return Figures(**{**figures, **paces, **parts, "changes": tuple(changes)})


@pytest.mark.slow
def test_larger_passes_are_looked_at_and_what_is_said_follows_from_the_figures(images: Path, tmp_path: Path) -> None:
    """Which of them bounds a run is up to the machine; test_model.py and test_advice.py try each."""
    result = found(tmp_path, "--data", str(images), "--micro-batch", "2", "--threads", "1", "--seconds", "4")
    figures = read(result["figures"])
    assert figures.larger == [4, 8, 16, 32, 64]
    assert (figures.job.micro_batch, figures.place.threads) == (2, 1)
    assert asdict(model.diagnosis(figures)) == result["diagnosis"]
    assert [advice.change.flags for advice in advise(figures)] == advised(result)


@pytest.mark.slow
def test_frequent_checkpoints_are_found_and_fewer_are_quicker(images: Path, tmp_path: Path) -> None:
    # a network of 45 MB, and with its momenta twice that, that trains in steps of a few milliseconds
    big = ("--model.name", "resnet18", "--global-batch", "2", "--micro-batch", "2", "--save-steps", "1")
    result = found(tmp_path, "--data", str(images), *big, "--threads", "1", "--seconds", "6")
    assert result["diagnosis"]["bound"] == "checkpoints"
    assert "--save-steps" in [flags.split()[0] for flags in advised(result)]
    assert result["figures"]["saving"]["bytes"] > 80e6
    (saving,) = [advice for advice in result["advice"] if advice["change"]["kind"] == "saving"]
    assert saving["gain"] > 1.1
    assert result["trial"]["flags"].startswith("--save-steps")
    assert result["trial"]["gain"] > 0.5  # of a tenth, on a machine that does other work


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="needs a second core to leave idle")
def test_a_single_thread_that_decodes_photographs_is_found(photographs: Path, tmp_path: Path) -> None:
    result = found(
        tmp_path,
        "--data",
        str(photographs),
        "--global-batch",
        "8",
        "--micro-batch",
        "8",
        "--threads",
        "1",
        "--seconds",
        "6",
    )
    assert result["diagnosis"]["bound"] == "loader"
    assert result["diagnosis"]["share"] > 0.5
    (threads,) = [change for change in result["figures"]["changes"] if change["kind"] == "threads"]
    assert threads["site"] == {"threads": cores()}
    # smaller copies leave hardly anything to decode, whatever else the machine does
    assert result["advice"][0]["change"]["kind"] == "pack"
    assert result["trial"]["predicted_gain"] > 1.3
    assert result["trial"]["gain"] > 1.3


@pytest.mark.slow
def test_several_processes_are_seen_together(images: Path, tmp_path: Path) -> None:
    torchrun = (str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc-per-node", "2")
    result = found(
        tmp_path, "--data", str(images), "--threads", "1", "--micro-batch", "8", "--seconds", "3", launcher=torchrun
    )
    assert result["figures"]["place"]["world_size"] == 2
    assert result["figures"]["reduction"]["bytes"] == 4 * 269_332  # ResNet-20 for four classes
    assert result["figures"]["reduction"]["seconds"] > 0


@pytest.mark.slow
def test_without_images_some_are_drawn(tmp_path: Path) -> None:
    result = found(tmp_path, "--threads", "1", "--seconds", "2", "--no-try")
    assert "no --data was given" in result["notes"][0]
    assert result["figures"]["job"]["images"] == 1_281_167
    assert result["trial"] is None


def advised(result: dict[str, Any]) -> list[str]:
    return [advice["change"]["flags"] for advice in result["advice"]]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three million pixels, as cameras make them: one, many times."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("photographs")
    grain = np.random.default_rng(0).integers(0, 256, (450, 600, 3), dtype=np.uint8)
    photograph = Image.fromarray(grain).resize((2000, 1500), Image.Resampling.BICUBIC)
    for split, count in (("train", 12), ("val", 4)):
        for name in "abcd":
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                photograph.save(folder / f"{number}.JPEG", quality=95)
    return root

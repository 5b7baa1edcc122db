import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.cli import main

DEMO = ("train", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "16")


def run(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environment or {})}, timeout=60
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["train", "resnet50", "--help"], ["report", "--help"]]
)
def test_help_answers_at_once_and_loads_no_torch(arguments: list[str]) -> None:
    seconds: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        done = run(*arguments)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0
    assert min(seconds) < 0.5
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "trainer", *arguments], check=True, capture_output=True, text=True
    )
    modules = {line.split("|")[-1].strip().split(".")[0] for line in listed.stderr.splitlines()}
    assert not modules & {"torch", "torchvision", "timm", "accelerate", "nvidia", "tensorboard", "numpy", "matplotlib"}


def test_help_shows_the_recipe_s_own_values() -> None:
    text = " ".join(run("train", "resnet50", "--help").stdout.replace("│", " ").split())
    assert "--schedule.milestones" in text
    assert "(default: 30.0 60.0)" in text
    assert "--epochs INT Passes over the training set. (default: 90)" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train"], "RECIPE"),
        (["tarin", "demo"], "tarin"),
        (["train", "demmo", "--data", "IMAGES", "--output", "OUT"], "'demmo' is unknown; did you mean demo?"),
        (["train", "no/such.yaml", "--data", "IMAGES", "--output", "OUT"], "no such file"),
        (["train", "demo", "--output", "OUT"], "--data"),
        ([*DEMO, "--data", "IMAGES"], "--output"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--optimiser.lr", "1"], "--optimizer.lr"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--epochs", "many"], "many"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--epochs", "0"], "epochs: 0; must be at least 1"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--precision", "fp8"], "fp8"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--threads", "0"], "threads: 0; must be at least 1"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--model.name", "resnet5O"], "did you mean resnet5"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--model.num-classes", "7"], "use --model.num-classes 4"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--micro-batch", "5"], "5 does not divide global_batch: 16"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--global-batch", "9999"], "micro_batch"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--global-batch", "1600"], "holds only 96 images"),
        ([*DEMO, "--data", "NOWHERE", "--output", "OUT"], "NOWHERE does not exist"),
        ([*DEMO, "--data", "IMAGES/train", "--output", "OUT"], "has no folder train and no folder val"),
        ([*DEMO, "--data", "IMAGES", "--output", "IMAGES/synth.json"], "is a file; name a folder"),
        (["report", "NOWHERE"], "is not a run directory"),
    ],
)
def test_bad_input_is_one_screen_and_exit_code_2_and_nothing_is_written(
    images: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    places = {"IMAGES": str(images), "OUT": str(tmp_path / "out"), "NOWHERE": str(tmp_path / "nowhere")}
    for name, path in places.items():
        arguments = [argument.replace(name, path) for argument in arguments]
        expected = expected.replace(name, path)
    done = run(*arguments)
    message = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert done.returncode == 2
    assert expected in message
    assert "Traceback" not in message
    assert len((done.stdout + done.stderr).splitlines()) <= 24
    assert list(tmp_path.iterdir()) == []


def test_all_problems_come_at_once(images: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("epochs: 0\noptimizer: {lr: -1}\nschedul: {}\n")
    done = run("train", tmp_path / "r.yaml", "--data", images, "--output", tmp_path / "out")
    assert done.returncode == 2
    for problem in ("epochs: 0", "optimizer.lr: -1", "schedul: unknown; did you mean schedule?"):
        assert problem in done.stderr


def test_a_run_of_another_recipe_is_not_touched(images: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("epochs: 3\n")
    done = run(*DEMO, "--data", images, "--output", tmp_path)
    assert done.returncode == 2
    assert "holds a run of another recipe" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_rank_other_than_0_refuses_in_silence(tmp_path: Path) -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for arguments in ([*DEMO, "--data", tmp_path, "--output", tmp_path / "out"], ["train", "demo", "--oops"]):
        done = run(*arguments, environment=environment)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_world_that_is_half_described_is_refused(images: Path, tmp_path: Path) -> None:
    done = run(*DEMO, "--data", images, "--output", tmp_path / "out", environment={"RANK": "0"})
    assert done.returncode == 2
    assert "WORLD_SIZE is missing from the environment" in done.stderr


def test_main_is_callable_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "/nowhere"]) == 2
    assert "is not a run directory" in capsys.readouterr().err

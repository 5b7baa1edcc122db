from functools import partial
from pathlib import Path

import pytest

from data.synth.config import Synth
from data.synth.synth import write
from tests import commands
from tests.terminal import on_terminal, without_terminal
from trainer.commands.cli import main
from trainer.commands.parsing import ELSEWHERE

DEMO = ("train", "demo", "--model.num-classes", "4", "--global-batch", "16", "--micro-batch", "16")


run = partial(commands.run, "trainer")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["train", "resnet50", "--help"], ["report", "--help"]]
)
def test_help_loads_nothing_that_takes_long(arguments: list[str]) -> None:
    slow = {"torch", "torchvision", "timm", "accelerate", "nvidia", "tensorboard", "numpy", "matplotlib"}
    assert not slow & commands.loads("trainer", *arguments)


def test_help_shows_the_recipe_s_own_values() -> None:
    text = " ".join(run("train", "resnet50", "--help").stdout.replace("│", " ").split())
    assert "--schedule.milestones" in text
    assert "(default: 30.0 60.0)" in text
    assert "--epochs INT Passes over the training set. Range: 1 to 1,000,000. (default: 90)" in text
    named = [word.rstrip(",") for answer in ELSEWHERE.values() for word in answer.split() if word.startswith("--")]
    assert [flag for flag in named if f"{flag} " not in text] == []


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
        (["train", "--data", "IMAGES", "--output", "OUT", "demo"], "RECIPE: comes first, before --data"),
        (["train", "--epochs", "3", "demo", "--help"], "RECIPE: comes first, before --epochs"),
        (["train", "IMAGES", "--data", "IMAGES", "--output", "OUT"], "is a folder; name a YAML file in it"),
        (["train", "demo.yaml", "--data", "IMAGES", "--output", "OUT"], "did you mean demo?"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--schedule.final-lr", "1"], "1.0 is more than optimizer.lr"),
        (["train", "resnet50", "--data", "IMAGES", "--output", "OUT", "--epochs", "50"], "[60.0] come after the last"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--optimizer.lr", "inf"], "must be finite and above 0"),
        ([*DEMO, "--data", "IMAGES", "--output", "/proc/nothing/here"], "--output"),
        ([*DEMO, "--data", "IMAGES", "--output", "/tmp/" + "long" * 100], "File name too long"),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--model.name", "timm/resnet18.none"],
            "cannot build 'resnet18.none'",
        ),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--model.name", "timm/vit_tiny_patch16_224"], "48 px"),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--micro-batch", "1", "--input.train-size", "32"],
            "micro-batches of 1 of",
        ),
        ([*DEMO, "--data", "IMAGES", "--output", ""], "--output: empty; leave it out or give a value"),
        ([*DEMO, "--data=", "--output", "OUT"], "--data: empty; leave it out or give a value"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--epochs", "0"], "epochs: 0; must be at least 1"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--precision", "fp8"], "fp8"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--threads", "0"], "threads: 0; must be at least 1"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--model.name", "resnet5O"], "did you mean resnet5"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--model.num-classes", "7"], "use --model.num-classes 4"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--micro-batch", "5"], "5 does not divide global_batch: 16"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--global-batch", "9999"], "micro_batch"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--global-batch", "1600"], "holds only 96 images"),
        ([*DEMO, "--data", "NOWHERE", "--output", "OUT"], "NOWHERE does not exist"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--manifests", "NOWHERE"], "--manifests: NOWHERE holds no"),
        ([*DEMO, "--data", "IMAGES", "--output", "OUT", "--max-broken", "2"], "--max-broken: 2.0; must be"),
        (
            [
                *DEMO,
                "--data",
                "IMAGES",
                "--output",
                "OUT",
                "--input.start-size",
                "64",
                "--input.growth-epochs",
                "1",
                "2",
            ],
            "input.start_size: 64 must be less than input.train_size: 48",
        ),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--input.start-size", "32"],
            "input.growth_epochs: 0.0 0.0 must rise",
        ),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--input.growth-epochs", "1", "2"],
            "has no effect without input.start_size",
        ),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--input.augment.color-jitter", "0", "0", "0", "0.7"],
            "the hue's 0.7 is more than 0.5",
        ),
        (
            [*DEMO, "--data", "IMAGES", "--output", "OUT", "--input.crop", "padded", "--input.crop-padding", "64"],
            "input.crop_padding: 64 must be less than input.train_size: 48",
        ),
        ([*DEMO, "--data", "IMAGES/train", "--output", "OUT"], "has no folder train and no folder val"),
        ([*DEMO, "--data", "IMAGES", "--output", "IMAGES/run"], "lies in the images' folder IMAGES"),
        (["report", "NOWHERE"], "is not a run directory"),
    ],
)
def test_bad_input_is_one_screen_and_exit_code_2_and_nothing_is_written(
    images: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    arguments = [commands.placed(argument, images, tmp_path) for argument in arguments]
    expected = commands.placed(expected, images, tmp_path)
    done = commands.call(main, *arguments)
    message = commands.said(done)
    assert done.returncode == 2
    assert expected in message
    assert "Traceback" not in message
    assert len((done.stdout + done.stderr).splitlines()) <= 24
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["tarin", "demo"], "tarin"), ([*DEMO, "--data", "NOWHERE", "--output", "OUT"], "/nowhere does not exist")],
)
def test_bad_input_ends_a_process_with_code_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = run(*(commands.placed(argument, tmp_path, tmp_path) for argument in arguments))
    message = commands.said(done)
    assert done.returncode == 2
    assert expected in message
    assert "Traceback" not in message


def test_all_problems_come_at_once(images: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("epochs: 0\noptimizer: {name: sgd, lr: -1}\nschedul: {}\n")
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


RANK_1 = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
RANK_1 |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


def test_a_rank_beside_rank_0_refuses_in_silence(tmp_path: Path) -> None:
    for arguments in ([*DEMO, "--data", tmp_path, "--output", tmp_path / "out"], ["train", "demo", "--oops"]):
        done = run(*arguments, environment=RANK_1)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_the_first_rank_of_another_machine_says_in_a_line_what_it_lacks(tmp_path: Path) -> None:
    environment = {**RANK_1, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    done = run(
        *DEMO, "--micro-batch", "8", "--data", tmp_path / "lost", "--output", tmp_path / "out", environment=environment
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("rank 1 on ")
    assert f"--data: {tmp_path / 'lost'} does not exist" in line


TINY = (*DEMO, "--model.name", "resnet20", "--input.train-size", "32", "--epochs", "1", "--log-every", "2")


@pytest.mark.slow
def test_a_terminal_shows_training_and_evaluation_in_one_bar(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write(images, Synth(classes=4, train_per_class=24, val_per_class=40), workers=1)
    large = ("--input.eval-resize", "144", "--input.eval-crop", "128")  # for a bar that is drawn ten times a second
    text, code = on_terminal("-m", "trainer", *TINY, *large, "--data", images, "--output", tmp_path / "run")
    assert code == 0
    for part in ("starting", "step 2/", "━", "evaluating 64 of 160 images", "epoch 1: top-1", "finished: top-1"):
        assert part in text


@pytest.mark.slow
@pytest.mark.parametrize("show", [on_terminal, without_terminal])
def test_a_quiet_run_tells_warnings_and_results_alone(images: Path, tmp_path: Path, show: type) -> None:
    text, code = show("-m", "trainer", *TINY, "--data", images, "--output", tmp_path, "--quiet")
    assert code == 0
    warning, first, second, *places = text.splitlines()
    assert warning.startswith("optimizer.lr: 0.05 belongs to a global_batch of 64 and is not scaled to 16; ")
    assert first.startswith("epoch 1: top-1 ")
    assert second.startswith("finished: top-1 ")
    assert places
    assert all(line.startswith("  ") for line in places)


@pytest.mark.slow
def test_a_run_without_its_metrics_can_still_end(images: Path, tmp_path: Path) -> None:
    flags = (*DEMO, "--model.name", "resnet20", "--input.train-size", "32", "--epochs", "1", "--output", tmp_path)
    assert run(*flags, "--data", images).returncode == 0
    before = (tmp_path / "result.json").read_text()
    (tmp_path / "result.json").unlink()
    (tmp_path / "metrics.jsonl").unlink()
    assert run(*flags, "--data", images).returncode == 0
    assert (tmp_path / "result.json").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--epochs", "3"), ("--log-every", "1000", "--epochs", "1")])
def test_a_loss_that_is_no_number_ends_the_run_without_a_result(
    images: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    small = ("--model.name", "resnet20", "--input.train-size", "32")
    high = ("--optimizer.lr", "1000", "--schedule.warmup-epochs", "0")
    done = run(*DEMO, *small, *high, *flags, "--data", images, "--output", tmp_path, environment={"COLUMNS": "200"})
    assert done.returncode == 1
    assert "training has diverged" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "result.json").exists()
    assert not list(tmp_path.glob("checkpoints/*"))


def test_a_damaged_list_of_images_is_named(images: Path, tmp_path: Path) -> None:
    flags = (*DEMO, "--model.name", "resnet20", "--input.train-size", "32", "--epochs", "1", "--output", tmp_path)
    (tmp_path / "manifest-val.npz").write_bytes(b"")
    done = run(*flags, "--data", images)
    assert done.returncode == 1
    assert f"failed: {tmp_path / 'manifest-val.npz'} is no manifest" in done.stderr


def test_a_world_that_is_half_described_is_refused(images: Path, tmp_path: Path) -> None:
    done = run(*DEMO, "--data", images, "--output", tmp_path / "out", environment={"RANK": "0"})
    assert done.returncode == 2
    assert "WORLD_SIZE is missing from the environment" in done.stderr


def test_main_is_callable_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "/nowhere"]) == 2
    assert "is not a run directory" in capsys.readouterr().err

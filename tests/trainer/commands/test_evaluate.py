import json
from pathlib import Path

import pytest

from models import export, factory
from models.config import ModelConfig
from tests import commands
from tests.data.making import picture
from tests.trainer.evaluation.answers import answered
from trainer.commands.cli import main
from trainer.rundir import RunDirectory


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the words below name."""
    root = tmp_path_factory.mktemp("place")
    for name in "ab":
        (root / "set" / "val" / name).mkdir(parents=True)
        picture(40, 32, 1).save(root / "set" / "val" / name / "1.JPEG", "JPEG")
    (root / "flat" / "val").mkdir(parents=True)
    (root / "bare" / "cat").mkdir(parents=True)
    config = ModelConfig(name="resnet20", num_classes=2)
    export.export(factory.build(config), config, root / "net.safetensors", "safetensors", 32)
    answered([0, 1], [0, 0], [0.5, 0.5]).save(root / "one.npz")
    answered([1, 1], [0, 0], [0.5, 0.5]).save(root / "two.npz")
    answered([1], [0], [0.5]).save(root / "other.npz")
    (root / "bad.npz").write_bytes(b"nothing")
    (root / "labels.json").write_text(json.dumps({"a/1.JPEG": 5, "b/1.JPEG": 5}))
    (root / "deep.json").write_text("[" * 100_000)
    (root / "torn.safetensors").write_bytes(b"\x00" * 8 + b"{")
    RunDirectory(root / "begun").make()
    (root / "begun" / "recipe.yaml").write_text("{model: {name: resnet20, num_classes: 2}}")
    return root


@pytest.fixture(autouse=True)
def _inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


DATA = ("--data", "set")
REFUSALS = {
    "nothing": ([], "WEIGHTS: missing; name what to evaluate, or --compare two"),
    "no data": (["net.safetensors"], "--data: missing; name the data set"),
    "no such data": (["net.safetensors", "--data", "no"], "--data: no does not exist; expected DATA/val/<class>"),
    "flat": (["net.safetensors", "--data", "flat"], "--data: flat/val holds no class folder; expected DATA/val/"),
    "bare": (["net.safetensors", "--data", "bare"], "bare holds no image; expected DATA/val/<class>"),
    "protocol": (
        ["net.safetensors", *DATA, "--protocol", "centre-224"],
        "--protocol: 'centre-224' is unknown; known are center-224/256",
    ),
    "several": (
        ["net.safetensors", *DATA, "--protocol", "center-9000", "--batch", "0", "--max-broken", "2"],
        "must be at least 1 and at most 65536 --max-broken: 2.0; must be at least 0 and at most 1 --protocol: ",
    ),
    "labels": (["net.safetensors", *DATA, "--labels", "no.json"], "--labels: no.json is no file; name a JSON file, or"),
    "labels that do not fit": (
        ["net.safetensors", *DATA, "--labels", "labels.json"],
        "--labels labels.json: names class 5; the network has 2",
    ),
    "real of other images": (["net.safetensors", *DATA, "--labels", "real"], "--labels real: goes by the numbers in"),
    "output": (["net.safetensors", *DATA, "--output", "one.npz"], "--output: one.npz is a file; name a folder"),
    "begun": (["begun", *DATA], "WEIGHTS: begun holds no weights yet"),
    "no run": (["set", *DATA], "WEIGHTS: set is a folder without recipe.yaml; name a run directory, a file of"),
    "unknown": (["resnet5O", *DATA], "WEIGHTS: 'resnet5O' names no weights"),
    "long": (["x" * 300, *DATA], "xxx: File name too long"),
    "long data": (["net.safetensors", "--data", "x" * 300], f"{'x' * 190}"),
    "long output": (["net.safetensors", *DATA, "--output", "x" * 300], "xxx: File name too long"),
    "long labels": (["net.safetensors", *DATA, "--labels", "x" * 300], "xxx: File name too long"),
    "deep labels": (["net.safetensors", *DATA, "--labels", "deep.json"], "deep.json: no JSON: nested too deeply"),
    "answers": (["one.npz", *DATA], "WEIGHTS: one.npz holds answers, not weights; --compare takes two of them"),
    "torn": (["torn.safetensors", *DATA], "weights: torn.safetensors is not a whole safetensors file"),
    "other network": (
        ["net.safetensors", *DATA, "--recipe", "resnet50"],
        "weights: net.safetensors holds another network: resnet20, not resnet50",
    ),
    "recipe": (["net.safetensors", *DATA, "--recipe", "resnet5O"], "recipe: 'resnet5O' is unknown; did you mean"),
    "idle recipe": (["timm/resnet18", *DATA, "--recipe", "resnet50"], "--recipe: is for a file of weights, and none"),
    "idle entry": (["timm/resnet18", *DATA, "--entry", "raw"], "--entry: is for a run directory or a file of weights"),
    "three": (
        ["--compare", "one.npz", "two.npz", "other.npz"],
        "--compare: takes two, not 3: one.npz, two.npz, other.npz",
    ),
    "one": (["--compare", "one.npz"], "--compare: takes two, not 1: one.npz"),
    "one beside two": (
        ["net.safetensors", "--compare", "one.npz", "two.npz"],
        "--compare: takes two, so leave net.safetensors out",
    ),
    "idle protocol": (
        ["--compare", "one.npz", "two.npz", "--protocol", "ten-crop"],
        "--protocol: does not apply to stored answers; leave it out",
    ),
    "other images": (["--compare", "one.npz", "other.npz"], "are of other images: 1 are in one alone"),
    "bad answers": (["--compare", "one.npz", "bad.npz"], "bad.npz holds no predictions"),
    "bad answers beside weights": (
        ["--compare", "net.safetensors", "bad.npz", *DATA],
        "bad.npz holds no predictions",
    ),
    "a scale too small": (
        ["net.safetensors", *DATA, "--protocol", "multi-scale-16,32"],
        "--protocol multi-scale-16,32: net.safetensors: its crops have 32 px",
    ),
    "no weights": (
        ["torchvision/resnet18.IMAGENET1K_V9", *DATA],
        "weights: torchvision has no weights of 'resnet18.IMAGENET1K_V9' within reach",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_mistake_is_refused_with_a_mend(case: str) -> None:
    arguments, expected = REFUSALS[case]
    done = commands.call(main, "evaluate", *arguments)
    assert done.returncode == 2
    assert expected in commands.said(done)
    assert "Traceback" not in done.stderr


def test_its_help_loads_nothing_that_takes_long() -> None:
    slow = {"torch", "torchvision", "timm", "accelerate", "nvidia", "numpy"}
    assert not slow & commands.loads("trainer.commands.evaluate")


def test_a_file_s_figures_go_to_a_folder_named_by_all_that_decides_them(place: Path) -> None:
    done = commands.call(main, "evaluate", "net.safetensors", *DATA, "--protocol", "resize-32+flip", "--threads", "1")
    assert done.returncode == 0, done.stderr
    folder = place / "evaluations" / "net.safetensors" / "val-resize-32+flip"
    assert {file.name for file in folder.iterdir()} == {
        "classes.csv",
        "confusion.csv",
        "confusion.png",
        "evaluation.json",
        "predictions.npz",
    }
    figures = json.loads((folder / "evaluation.json").read_text())
    assert (figures["images"], figures["classes"], figures["protocol"]) == (2, 2, "resize-32+flip")
    assert "2 images, each once" in done.stdout


def test_two_files_of_answers_are_compared_without_any_data(place: Path) -> None:
    done = commands.call(main, "evaluate", "--compare", "one.npz", "two.npz", "--output", "compared")
    assert done.returncode == 0, done.stderr
    assert "the first alone 1 right, the second alone 0" in done.stdout
    assert {file.name for file in (place / "compared").iterdir()} == {"comparison.json", "differences.csv"}

"""Weights of a real run, evaluated by real commands: the run's own figures, on any number of processes, and timm's."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.data import create_dataset, create_loader  # pyright: ignore[reportPrivateImportUsage]
from timm.utils.metrics import accuracy

from tests import commands
from tests.commands import HANGS_S
from tests.data.making import tinted_tree
from tests.models.planted import plant
from tests.system import forks
from tests.system.running import LAUNCHERS, finish, start
from trainer.commands.cli import main
from trainer.evaluation.predictions import COLUMNS, Predictions, load

pytestmark = pytest.mark.slow

WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361", "n02123045", "n02123159", "n15075141")
RECIPE = """
model: {name: resnet18, num_classes: 7}
input: {train_size: 32, crop_area: [0.6, 1.0], eval_resize: 40, eval_crop: 32}
optimizer: {name: sgd, lr: 0.02}
ema: {decay: 0.7}
epochs: 2
global_batch: 16
micro_batch: 16
precision: fp32
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 images to evaluate, of many sizes."""
    return tinted_tree(tmp_path_factory.mktemp("tree"), WNIDS, train=224, val=1000)


@pytest.fixture(scope="module")
def run(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "recipe.yaml").write_text(RECIPE)
    finish(start(tree, folder / "run", recipe=str(folder / "recipe.yaml")))
    return folder / "run"


def evaluate(*words: object, launcher: str = "python", folder: Path | None = None, **environment: str) -> str:
    """`evaluate WORDS` to its end, in this process where it needs no other; gives what it printed."""
    words = ("evaluate", *words, "--threads", 1)
    if launcher == "python" and not environment:
        done = commands.call(main, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout
    process = forks.begin(
        [*LAUNCHERS[launcher], *map(str, words)],
        {**os.environ, "ACCELERATE_USE_CPU": "true", **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, errors
    return output


def figures(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def alone(tree: Path, run: Path) -> Path:
    """One process's evaluation of the run."""
    evaluate(run, "--data", tree)
    return run / "evaluations" / "val-center-32_40"


def test_a_run_s_own_figures_come_out_again(run: Path, alone: Path) -> None:
    result, found = json.loads((run / "result.json").read_text()), figures(alone)
    assert 25 < found["top1"] < 95  # of 7 classes
    for name in ("top1", "top5", "loss", "images", "broken", "val_sha256", "train_sha256"):
        assert found[name] == result[name], name
    assert (found["protocol"], found["weights"]) == (result["protocol_name"], "ema")


def counts(found: Predictions) -> tuple[int, int, int]:
    return len(found), int(found.top1.sum()), int(found.top5.sum())


@pytest.mark.parametrize("launcher", ["torchrun x2", "torchrun x3"])
def test_any_number_of_processes_gives_the_same_answers(
    tree: Path, run: Path, alone: Path, tmp_path: Path, launcher: str
) -> None:
    """To the last bit, in the same batches."""
    one = load(alone / "predictions.npz")
    evaluate(run, "--data", tree, "--output", tmp_path / "same", launcher=launcher)
    same = load(tmp_path / "same" / "predictions.npz")
    for name in COLUMNS:
        assert np.array_equal(getattr(same, name), getattr(one, name)), name
    assert figures(tmp_path / "same")["world_size"] == int(launcher[-1])


def test_batches_of_another_size_give_the_same_counts(tree: Path, run: Path, alone: Path, tmp_path: Path) -> None:
    """Sums are rounded otherwise in them."""
    evaluate(run, "--data", tree, "--output", tmp_path, "--batch", "37")
    found, one = load(tmp_path / "predictions.npz"), load(alone / "predictions.npz")
    assert counts(found) == counts(one) == (1000, *counts(one)[1:])


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # its files
def test_timm_s_own_validation_has_as_many_right(tree: Path, run: Path, alone: Path, tmp_path: Path) -> None:
    """The steps of timm's validate.py, with the weights as timm loads them from a file."""
    weights = tmp_path / "converted.safetensors"
    shutil.copy(run / "model.safetensors", weights)
    network = timm.create_model("resnet18", num_classes=7, checkpoint_path=str(weights)).eval()
    dataset: Any = create_dataset("", root=str(tree / "val"))
    loader: Any = create_loader(
        dataset,
        input_size=(3, 32, 32),
        batch_size=50,
        use_prefetcher=False,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        num_workers=0,
        persistent_workers=False,
        crop_pct=32 / 40,
        device=torch.device("cpu"),
    )
    right, answers = torch.zeros(2), list[int]()
    for images, targets in loader:
        with torch.no_grad():
            logits = network(images)
        shares = torch.stack(accuracy(logits, targets, topk=(1, 5)))
        right += shares * len(targets) / 100
        answers += logits.argmax(1).tolist()
    ours = load(alone / "predictions.npz")
    assert right.round().int().tolist() == [ours.top1.sum(), ours.top5.sum()]
    assert ours.answers[:, 0].tolist() == answers


def test_two_weights_and_two_files_of_answers_compare_alike(tree: Path, run: Path, alone: Path, tmp_path: Path) -> None:
    (first, *_) = sorted((run / "checkpoints").iterdir())
    early = first / "model.safetensors"
    by_weights = evaluate("--compare", run, early, "--data", tree, "--output", tmp_path / "weights")
    assert "of 1,000 images both have" in by_weights
    other = run / "evaluations" / f"val-center-32_40-{first.name}-raw"
    by_answers = evaluate("--compare", alone, other / "predictions.npz", "--output", tmp_path / "answers")
    for name in ("comparison.json", "differences.csv"):
        assert (tmp_path / "weights" / name).read_text() == (tmp_path / "answers" / name).read_text()
    assert by_answers.splitlines()[:4] == by_weights.splitlines()[-len(by_answers.splitlines()) :][:4]
    found = json.loads((tmp_path / "answers" / "comparison.json").read_text())
    gain = figures(other)["top1"] - figures(alone)["top1"]
    assert found["difference"] == pytest.approx(gain)
    assert found["other_answers"] == len((tmp_path / "answers" / "differences.csv").read_text().splitlines()) - 1


def test_an_image_that_broke_is_left_out_and_counted(tree: Path, run: Path, alone: Path, tmp_path: Path) -> None:
    """The first, which also fills the last batches up; of the same size and time, so that its list still holds."""
    copy = tmp_path / "tree"
    shutil.copytree(tree / "val", copy / "val")
    shutil.copy(run / "manifest-val.npz", copy / "manifest-val.npz")
    file = copy / "val" / WNIDS[0] / "0000.JPEG"
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    output = evaluate(run, "--data", copy, "--output", tmp_path / "after")
    assert "999 images, each once, 1 broken and left out" in output
    found, whole = load(tmp_path / "after" / "predictions.npz"), load(alone / "predictions.npz")
    assert figures(tmp_path / "after")["broken"] == 1
    assert found.names.tolist() == whole.names[1:].tolist()
    assert found.answers[:, 0].tolist() == whole.answers[1:, 0].tolist()


def test_weights_of_timm_and_torchvision_are_evaluated_in_their_own_ways(tree: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for name in WNIDS[:4]:
        (few / name).mkdir(parents=True)
        shutil.copy(next((tree / "val" / name).iterdir()), few / name)
    environment, _ = plant(tmp_path)
    environment["PYTHONPATH"] = str(Path.cwd())
    names = ("torchvision/resnet18.IMAGENET1K_V1", "timm/resnet18.a1_in1k")
    output = evaluate("--compare", *names, "--data", few, folder=tmp_path, **environment)
    for name, protocol in zip(names, ("center-224_256", "center-288_288+bicubic"), strict=True):
        folder = tmp_path / "evaluations" / name.replace("/", "_") / f"few-{protocol}"
        found = figures(folder)
        assert (found["classes"], found["num_classes"], found["images"]) == (4, 1000, 4)
        answers = load(folder / "predictions.npz").answers
        assert answers.shape == (4, 4)
        assert set(answers[0].tolist()) == {0, 1, 2, 3}
    assert "its package states" not in output  # that is of ImageNet's validation images
    assert "note: protocol: center-224/256 and center-288/288+bicubic" in output
    assert "of 4 images both have" in output

"""The page for a user's own images, followed from folders of classes to a file of answers."""

import csv
import os
import re
import shlex
from pathlib import Path

import pytest
from safetensors.torch import save_file

from models import factory
from models.config import ModelConfig
from tests import commands
from trainer.commands.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "data" / "README.md").read_text()
SMALL = (
    *("--model.num-classes", "4", "--model.name", "resnet20", "--init.weights", "r20.safetensors", "--threads", "1"),
    *("--global-batch", "16", "--micro-batch", "16", "--epochs", "1", "--schedule.warmup-epochs", "0"),
    *("--input.train-size", "32", "--input.eval-resize", "36", "--input.eval-crop", "32"),
)


def follow(start: str, *more: str) -> str:
    """Type the first line of a page that starts so, with more flags; gives what it prints."""
    (line, *_) = re.findall(rf"^    provenet ({start} .*?)(?: +#.*)?$", PAGE, re.MULTILINE)
    done = commands.call(main, *map(os.path.expanduser, shlex.split(line)), *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_own_images_are_trained_on_evaluated_and_predicted(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("photos").symlink_to(images / "train")
    Path("new").symlink_to(images / "val")
    save_file(factory.build(ModelConfig(name="resnet20", num_classes=10)).state_dict(), "r20.safetensors")
    said = follow("train finetune", *SMALL)
    assert "with a new classifier of 4 classes" in said
    assert "by --val-share 0.1" in said
    (accuracy,) = re.findall(r"finished: top-1 (\S+) %, top-5 \S+ % on (\d+) images", said)
    measured = follow("evaluate runs/photos", "--threads", "1")
    assert f"{accuracy[1]} images, each once" in measured
    assert accuracy[0] in measured
    follow("predict runs/photos", "--threads", "1")
    rows = list(csv.DictReader(Path("new.csv").read_text().splitlines()))
    assert {row["class_1"] for row in rows} <= {folder.name for folder in (images / "train").iterdir()}
    assert len(rows) == sum(1 for _ in (images / "val").rglob("*.JPEG"))

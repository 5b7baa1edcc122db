"""The README's recipe, network and augmentation, added to a copy of the project as it says and tried there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import HANGS_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROOMS = ("launch", "trainer", "models", "data")
BLOCKS: dict[str, str] = {
    file: text for file, text in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
}
SMALL = ("--global-batch", "8", "--micro-batch", "8", "--threads", "1", "--keep-checkpoints", "1")
SIZES = ("--input.train-size", "32", "--input.eval-crop", "32", "--input.eval-resize", "36")
GREY = """
import torch
from data.load.augment import apply
from data.plan.policies import DRAWS, choices
from data.plan.config import AugmentConfig
from data.plan.draws import Stream, uniforms

found = choices(AugmentConfig(policy="grey"), uniforms(0, 0, Stream.AUGMENT, range(500), DRAWS), 16)
images = torch.randint(0, 256, (500, 16, 16, 3), dtype=torch.uint8)
apply(images, found, (0, 0, 0))
print((images == images[..., :1]).all(dim=(1, 2, 3)).float().mean().item())
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """The rooms, and the images where the README has them."""
    place = tmp_path_factory.mktemp("copy")
    for room in ROOMS:
        shutil.copytree(ROOT / room, place / room, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "datasets").mkdir()
    (place / "datasets" / "synth").symlink_to(images)
    return place


def follow(copy: Path, line: str, *more: str) -> str:
    """Type a line of the README in the copy, whose own code `python -m launch` runs: it does what `provenet` does."""
    program, *rest = shlex.split(line)
    words = [sys.executable, *(["-m", "launch"] if program == "provenet" else []), *rest, *more]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=copy, timeout=HANGS_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lines(word: str) -> list[str]:
    """Indented commands of the README that hold a word."""
    return [line.strip() for line in README.splitlines() if line.startswith("    provenet ") and word in line]


def smoke(copy: Path, run: str) -> None:
    """Train by the README's line, on fewer classes and smaller images than it is written for."""
    (line,) = lines(f"--output runs/{run} ")
    follow(copy, line, "--model.num-classes", "4", *SMALL, *SIZES)
    result = json.loads((copy / "runs" / run / "result.json").read_text())
    assert result["model"] == "resnet18"


def test_what_is_to_be_added_takes_fewer_than_ten_lines() -> None:
    assert set(BLOCKS) == {"short.yaml", "models/table.py", "data/plan/custom.py"}
    assert all(len(text.splitlines()) < 10 for text in BLOCKS.values())


def test_the_recipe_is_read_and_trained(copy: Path) -> None:
    (copy / "short.yaml").write_text(BLOCKS["short.yaml"])
    smoke(copy, "short")


def test_the_network_equals_its_counterpart(copy: Path) -> None:
    table = copy / "models" / "table.py"
    head, closing, _ = table.read_text().rpartition("}")
    table.write_text(f"{head}{BLOCKS['models/table.py']}{closing}\n")
    summary, validate = lines("wide_resnet50_2")
    assert "68,883,240" in follow(copy, summary)
    assert follow(copy, validate, "--image-size", "64").count(" equal") == 2
    table.write_text(f"{head}{closing}\n")


def test_the_augmentation_is_drawn_and_done(copy: Path) -> None:
    custom = copy / "data" / "plan" / "custom.py"
    custom.write_text(f"{custom.read_text()}\n\n{BLOCKS['data/plan/custom.py']}")
    (copy / "short.yaml").write_text(BLOCKS["short.yaml"])
    share = float(follow(copy, f"python -c {shlex.quote(GREY)}"))
    assert 0.15 < share < 0.25  # of the images; rotated ones with black corners stay grey
    smoke(copy, "grey")

"""The examples of `trainer/EXTENDING.md`, written and typed as it says."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.commands import HANGS_S, PROVENET

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "trainer" / "EXTENDING.md").read_text()
BLOCKS: dict[str, str] = {
    file: text for file, text in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
SMALL = ("--global-batch", "8", "--micro-batch", "8", "--threads", "1", "--keep-checkpoints", "1")
SIZES = ("--input.train-size", "32", "--input.eval-crop", "32", "--input.eval-resize", "36")
LESS = ("--model.num-classes", "4", *SMALL, *SIZES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """The files of the page, and the images where it has them."""
    place = tmp_path_factory.mktemp("own")
    (place / "datasets").mkdir()
    (place / "datasets" / "synth").symlink_to(images)
    for file, text in BLOCKS.items():
        (place / file).write_text(text)
    return place


def typed(folder: Path, line: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [str(PROVENET), *shlex.split(line)[1:], *more]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd=folder, timeout=HANGS_S)


def follow(folder: Path, word: str, *more: str) -> str:
    """Type the page's line that holds a word; returns what it printed."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith("    provenet ") and word in line)
    done = typed(folder, line, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_recipe_is_trained(folder: Path) -> None:
    follow(folder, "train short.yaml", *LESS)
    assert json.loads((folder / "runs" / "short" / "result.json").read_text())["model"] == "resnet18"


def test_the_network_has_the_paper_s_parameters(folder: Path) -> None:
    assert "68,883,240" in follow(folder, "models summary")


def test_the_augmentation_is_trained_with_alone(folder: Path) -> None:
    follow(folder, "train demo", *LESS)
    assert "policy: grey" in (folder / "runs" / "grey" / "recipe.yaml").read_text()


def test_the_run_of_augmentation_loss_and_optimizer_needs_their_files_no_more(folder: Path) -> None:
    follow(folder, "train own.yaml", *LESS)
    run, line = folder / "runs" / "own", next(line for line in PAGE.splitlines() if "provenet train own.yaml" in line)
    result = json.loads((run / "result.json").read_text())
    with (folder / "grey.py").open("a") as file:
        file.write("# changed\n")
    changed = typed(folder, line.strip(), *LESS)
    assert changed.returncode == 2
    assert "the code that it was begun with is kept there: --import runs/own/code-" in changed.stderr
    for file in ("grey.py", "focal.py", "sign.py"):
        (folder / file).unlink()
    gone = typed(folder, line.strip(), *LESS)
    assert (gone.returncode, gone.stderr.count(" does not exist")) == (2, 3)
    for stray in ("result.json", "report.html"):  # as if it had been killed before its end
        (run / stray).unlink()
    again = typed(folder, f"provenet train {run / 'recipe.yaml'} --data datasets/synth --output {run} --smoke")
    assert again.returncode == 0, again.stderr
    after = json.loads((run / "result.json").read_text())
    assert after | {"commit": None} == result | {"commit": None}  # of the code as it is edited meanwhile
    assert "top-1" in follow(folder, "evaluate runs/own")

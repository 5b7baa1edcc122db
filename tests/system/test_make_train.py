"""`make train` as a newcomer types it, in the environment that these tests run in."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.running import finish, stop_at

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARTS = ("Makefile", "launch", "trainer", "models", "data")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make train` uses, without data or runs."""
    copy = tmp_path_factory.mktemp("house")
    for part in PARTS:
        source = ROOT / part
        shutil.copytree(source, copy / part) if source.is_dir() else shutil.copy(source, copy)
    return copy


def make_train(house: Path) -> subprocess.Popen[str]:
    # the environment is installed: without --old-file, make would link it to this copy
    installed = f"{sys.prefix}/.installed-cuda13"
    flags = "FLAGS=--log-every 10 --epochs 2"  # of 9, which end above 90 %: this is a matter of minutes
    command = ["make", "--old-file", installed, "train", f"VENV={sys.prefix}", flags]
    return subprocess.Popen(
        command, cwd=house, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_make_train_learns_goes_on_after_ctrl_c_and_says_when_it_is_finished(house: Path) -> None:
    run = house / "runs" / "demo"
    process = make_train(house)
    stop_at(process, run, 10, signal.SIGINT)
    output = finish(process, code=None)
    assert "stopped, not finished: the same command goes on from here" in output
    assert "Traceback" not in output

    output = finish(make_train(house))
    assert "going on after step" in output
    result = json.loads((run / "result.json").read_text())
    assert result["top1"] >= 20  # of ten classes
    assert result["images"] == 1000
    guide = [line.split() for line in output.splitlines() if line.startswith("  ")]
    assert [words[0] for words in guide] == [
        *("report", "page", "curves", "TensorBoard", "metrics", "checkpoints", "weights", "recipe")
    ]
    assert all((house / words[-1]).exists() for words in guide)

    assert "nothing to do, this run is finished: top-1" in finish(make_train(house))

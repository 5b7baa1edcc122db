import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests import commands
from trainer.exits import begun, record


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "75"),
        ({"LOCAL_RANK": "0"}, "75"),
        ({"LOCAL_RANK": "1"}, ""),
        ({"LOCAL_RANK": "3", "WORLD_SIZE": "1"}, "75"),
        ({"SLURM_LOCALID": "1"}, ""),
    ],
)
def test_the_first_process_on_a_machine_leaves_its_exit_code(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    file = tmp_path / "code"
    file.touch()
    record(75, {"PROVENET_EXIT_CODE": str(file), **environment})
    assert file.read_text() == expected


def test_a_run_that_has_begun_is_known_until_it_leaves_its_code(tmp_path: Path) -> None:
    (tmp_path / "code").touch()
    begun({"PROVENET_EXIT_CODE": str(tmp_path / "code")})
    assert (tmp_path / "code").read_text() == "begun"


def test_a_run_has_begun_before_torch_is_loaded_and_other_processes_are_met(tmp_path: Path) -> None:
    (tmp_path / "code").touch()
    for split, name in product(("train", "val"), "ab"):
        folder = tmp_path / "images" / split / name
        folder.mkdir(parents=True)
        (folder / "0.JPEG").touch()
    words = ["--model.num-classes", "2", "--global-batch", "2", "--micro-batch", "2", "--output", f"{tmp_path}/run"]
    program = f"""
import os, signal, sys
sys.modules["trainer.engine.build"] = None  # which loads torch
from trainer.commands.cli import main
try:
    main(["train", "demo", "--data", "{tmp_path}/images", *{words}])
except ImportError:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PROVENET_EXIT_CODE": str(tmp_path / "code")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "code").read_text() == "begun"


def test_a_later_code_replaces_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "code"
    file.write_text("75")
    record(0, {"PROVENET_EXIT_CODE": str(file)})
    assert file.read_text() == "0"


def test_a_process_that_nobody_waits_for_leaves_nothing(tmp_path: Path) -> None:
    record(75, {})
    record(75, {"PROVENET_EXIT_CODE": str(tmp_path / "code of another machine")})
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_foresaw_is_a_traceback_and_a_code_of_its_own(tmp_path: Path) -> None:
    """So that a launcher may start the same command again, which a failure that was foreseen does not call for."""
    (tmp_path / "recipe.yaml").write_text("{}")
    (tmp_path / "metrics.jsonl").mkdir()  # which no report expects
    (tmp_path / "code").touch()
    done = commands.run("trainer", "report", tmp_path, environment={"PROVENET_EXIT_CODE": str(tmp_path / "code")})
    assert done.returncode == 70
    assert "Traceback (most recent call last)" in done.stderr
    assert "IsADirectoryError" in done.stderr
    assert (tmp_path / "code").read_text() == "70"

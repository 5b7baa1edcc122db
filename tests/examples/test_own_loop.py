"""The example of a loop of one's own: killed in the middle and started again, it ends with the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.commands import HANGS_S
from tests.system import forks
from trainer import api

EXAMPLE = Path(__file__).with_name("own_loop.py")


def start(images: Path, run: Path) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "tests.examples.own_loop", str(images), str(run))
    return forks.begin(command, {**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, output
    return output


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60


def test_killed_in_the_middle_it_ends_with_the_same_weights_to_the_last_bit(images: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reference, process = start(images, whole), start(images, killed)
    assert process.stdout
    next(line for line in process.stdout if line.startswith("saved step 4:"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 4 <= api.load_state(killed)[0] < 12

    output = finish(start(images, killed))
    assert "going on after step 0" not in output
    assert output.splitlines()[-1] == finish(reference).splitlines()[-1]
    assert output.splitlines()[-1].startswith("top-1 ")
    (step, state), (last, other) = api.load_state(whole), api.load_state(killed)
    assert step == last == 12
    assert same(state, other)

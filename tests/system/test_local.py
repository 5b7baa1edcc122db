"""The cluster's way on one machine without Slurm: `provenet submit --cluster local`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import attempts
from launch.submission import LaunchFolder
from tests.commands import HANGS_S
from tests.system.running import SMALL, last_step, points, processes, same_bits, state, wait_for

pytestmark = pytest.mark.slow


def launch(*words: str) -> subprocess.CompletedProcess[str]:
    """Read to the end: nothing that lives on may hold the output open."""
    command = [sys.executable, "-m", "launch", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANGS_S)


def test_a_local_run_survives_a_killed_process_a_cancel_and_a_resume(
    images: Path, whole_pair: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    place = ("--data", str(images), "--output", str(run), "--threads", "1", "--log-every", "1", "--save-steps", "5")
    launch("submit", *SMALL[1:], *place, "--cluster", "local", "--processes-per-node", "2")
    await_step(run, 10)
    os.kill(processes(run, rank=1)[0], signal.SIGKILL)
    await_step(run, 30)
    assert json.loads(launch("status", str(run), "--json").stdout)[0]["state"] == "running"

    assert "has ended" in launch("cancel", str(run)).stdout
    first, second = attempts.read(LaunchFolder(run).attempts)
    assert first.end and first.end.then == "again"
    assert second.end and second.end.then == "cancelled"
    assert processes(run) == []

    launch("resume", str(run))
    await_result(run)
    assert same_bits(state(run), state(whole_pair))
    assert points(run) == points(whole_pair)
    shown = launch("logs", str(run), "--rank", "0", "--lines", "0").stdout
    assert f"going on after step {second.end.step}" in shown


def await_step(run: Path, step: int) -> None:
    wait_for(lambda: last_step(run) >= step, run)


def await_result(run: Path) -> None:
    wait_for((run / "result.json").exists, run)

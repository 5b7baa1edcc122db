"""A sample of `make crash`, which ends a tiny run at every call that changes its directory."""

import subprocess
import sys

import pytest

from tests.commands import HANGS_S


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_call_ends_as_one_that_is_not() -> None:
    command = [sys.executable, "-m", "tests.system.crash", "--kinds", "kill", "torn", "--sample", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split() for line in done.stdout.splitlines()[-2:]] == [
        ["kill", "5", "5", "0"],
        ["torn", "5", "5", "0"],
    ]


@pytest.mark.slow
def test_a_run_that_is_killed_in_its_last_writes_is_completed_by_the_same_command() -> None:
    """Those after `result.json`: report, page, plot, TensorBoard's end, holder."""
    command = [sys.executable, "-m", "tests.system.crash", "--kinds", "kill", "--last", "20", "--sample", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].split() == ["kill", "6", "6", "0"]

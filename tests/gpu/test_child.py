"""What the acceptance run makes of a section that hangs, crashes or raises: one failure, and the rest goes on."""

import json
import sys
from pathlib import Path

import pytest

from tests.gpu import child
from tests.gpu.stage import Check, Stage

SAYS = 'print(\'{"what": "a", "figure": "1"}\', flush=True)'


def run(tmp_path: Path, code: str, limit_s: float = 30) -> list[Check]:
    shown: list[Check] = []
    stage = Stage(folder=tmp_path, rehearsal=True)
    child.run([sys.executable, "-c", code], limit_s, shown.append, stage)
    return shown


def test_checks_are_shown_as_they_come(tmp_path: Path) -> None:
    assert run(tmp_path, SAYS) == [Check(what="a", figure="1")]


@pytest.mark.parametrize(
    ("end", "figure"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended with code -11"),
        ("raise RuntimeError('no kernel image')", "RuntimeError: no kernel image"),
    ],
)
def test_a_crash_is_a_failure_after_what_was_said(tmp_path: Path, end: str, figure: str) -> None:
    said, failed = run(tmp_path, f"{SAYS}\n{end}")
    assert said.passed
    assert not failed.passed
    assert failed.figure == figure


def test_a_section_and_what_it_started_are_killed_at_the_limit(tmp_path: Path) -> None:
    """Also what leads a session of its own, as the loops of the bench do."""
    code = """
import json, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(json.dumps({"what": "started", "figure": str(other.pid)}), flush=True)
time.sleep(60)
"""
    started, failed = run(tmp_path, code, limit_s=2)
    assert failed.figure == "no end after 2 s"
    other = Path("/proc") / started.figure / "cmdline"
    assert not other.exists() or other.read_bytes() == b""  # a dead one that nobody has waited for has none


def test_a_stage_reaches_its_section_as_it_was() -> None:
    stage = Stage(folder=Path("/a b"), rehearsal=True)
    assert Stage.decode(stage.encode()) == stage
    assert json.loads(stage.encode())["rehearsal"]

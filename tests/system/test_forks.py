"""A fork is a process as one that is started: what it can tell of itself, and how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.forks import Forked, possible

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "RANK": "3", "EMPTY": "", "NAMED": "gläser\n=x"}


def told(kind: type[subprocess.Popen[str]], folder: Path, *words: str) -> tuple[Any, int]:
    command = [sys.executable, "-u", "-m", "look", *words]
    shutil.copy(Path(__file__).with_name("look.py"), folder)
    process = kind(
        command,
        env=ENVIRONMENT,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    output, _ = process.communicate()
    return json.loads(output), process.returncode


@pytest.mark.parametrize("words", [("a word", "", "--flag=ä"), ("dies",)])
def test_a_fork_tells_of_itself_what_a_started_process_tells(tmp_path: Path, words: tuple[str, ...]) -> None:
    (started, code), (forked, same) = (told(kind, tmp_path, *words) for kind in (subprocess.Popen, Forked))
    assert forked == started
    assert forked["parent"] == os.getpid()
    assert code == same == (-signal.SIGKILL if "dies" in words else 7)


def test_what_acts_at_the_start_of_a_process_allows_no_fork() -> None:
    assert possible(ENVIRONMENT)
    assert not possible({**ENVIRONMENT, "OMP_NUM_THREADS": "7"})
    assert not possible({**ENVIRONMENT, "PYTHONUTF8": "0"})

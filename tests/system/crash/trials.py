"""A tiny run, ended or hindered at a chosen system call, and started again by the same command.

Each trial is a fork of a process that has loaded everything and computed nothing, so that it takes a second.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.commands import HANGS_S

How = Literal["count", "kill", "torn", "fail once", "fail on"]
HOW: Sequence[How] = ("count", "kill", "torn", "fail once", "fail on")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What happens to the first start of a run."""

    how: How = "count"
    call: int = 0
    """Which of the calls that change the run directory, from 1."""
    error: int = 0
    """`errno` of the calls that fail."""


def preload() -> None:
    """Import what a run imports, before anything is computed: threads do not survive a fork."""
    import matplotlib.pyplot
    import PIL.Image
    import torch

    import data.load.threads
    import trainer.commands.failures
    import trainer.commands.train
    import trainer.evidence.report
    import trainer.train

    assert torch and matplotlib and PIL and data and trainer


def start(words: Sequence[str], run: Path, trial: Trial, output: Path, trace: Path | None = None) -> int:
    """Run a command in a fork: its exit code, or the negative number of the signal that ended it."""
    if (child := os.fork()) == 0:
        try:
            code = _child(words, run, trial, output, trace)
        except BaseException:
            traceback.print_exc()
            code = 99
        os._exit(code)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(int(HANGS_S))
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def _child(words: Sequence[str], run: Path, trial: Trial, output: Path, trace: Path | None) -> int:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["provenet", *words]
    from trainer.__main__ import run as command

    shim = ctypes.CDLL(None)
    log = str(trace).encode() if trace else None
    shim.crash_arm(str(run).encode(), HOW.index(trial.how), ctypes.c_long(trial.call), trial.error, log)
    code = command()
    sys.stdout.flush()
    return code

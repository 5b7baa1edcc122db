"""A tiny run, ended or hindered at a chosen system call, and started again by the same command.

Each trial is a fork of a process that has loaded everything and computed nothing, so that it takes a second.
"""

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.commands import HANGS_S

How = Literal["count", "kill", "torn", "fail once", "fail on", "signal"]
GRACE_S = 30  # as torchrun, which ends the others so long after the death of one
HOW: Sequence[How] = ("count", "kill", "torn", "fail once", "fail on", "signal")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What happens to the first start of a run."""

    how: How = "count"
    call: int = 0
    """Which of the calls that change the run directory, from 1; 0 for signals: each."""
    error: int = 0
    """`errno` of the calls that fail, or the signal that this process gets, and goes on."""
    place: str = ""
    """Only calls whose name and path begin so count, such as `open /recipe.yaml`; reading counts, too."""
    rank: int = 0
    """Which process it happens to."""


def preload() -> None:
    """Import what a run imports, before anything is computed: threads do not survive a fork."""
    import matplotlib.pyplot
    import PIL.Image
    import torch
    import torch._dynamo  # which the first optimizer imports
    import torch.testing
    import torch.utils.data

    import data.load.threads
    import trainer.commands.failures
    import trainer.commands.train
    import trainer.evidence.report
    import trainer.train

    assert torch and matplotlib and PIL and data and trainer


def start(
    words: Sequence[str], run: Path, trial: Trial, output: Path, trace: Path | None = None, ranks: int = 1
) -> list[int]:
    """Run a command in a fork for each rank: their exit codes, or the negative numbers of the signals that ended them.

    Args:
        words: what follows `provenet`.
        run: run directory whose calls count.
        trial: what happens.
        output: where all that is printed is appended to.
        trace: `trace-0` and so on get the calls of each rank, one a line.
        ranks: processes that train together.
    """
    children = [
        _fork(words, run, trial if rank == trial.rank else Trial(), output, world, trace and Path(f"{trace}-{rank}"))
        for rank, world in enumerate(_worlds(ranks))
    ]
    codes: dict[int, int] = {}

    def kill(*_: object) -> None:
        for child in set(children) - set(codes):
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.alarm(int(HANGS_S))
    while len(codes) < ranks:
        child, status = os.wait()
        codes[child] = os.waitstatus_to_exitcode(status)
        if codes[child]:
            signal.alarm(GRACE_S)
    signal.alarm(0)
    return [codes[child] for child in children]


def _worlds(ranks: int) -> list[dict[str, str]]:
    """What torchrun would set; nothing for a process by itself."""
    if ranks == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address, port = probe.getsockname()
    same = {"WORLD_SIZE": f"{ranks}", "LOCAL_WORLD_SIZE": f"{ranks}", "MASTER_ADDR": address, "MASTER_PORT": f"{port}"}
    return [{**same, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"} for rank in range(ranks)]


def _fork(
    words: Sequence[str], run: Path, trial: Trial, output: Path, world: dict[str, str], trace: Path | None
) -> int:
    if (child := os.fork()) == 0:
        try:
            os.environ.update(world)
            code = _child(words, run, trial, output, trace)
        except BaseException:
            traceback.print_exc()
            code = 99
        os._exit(code)
    return child


def _child(words: Sequence[str], run: Path, trial: Trial, output: Path, trace: Path | None) -> int:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["provenet", *words]
    from trainer.__main__ import start as program

    shim = ctypes.CDLL(None)
    log = str(trace).encode() if trace else None
    shim.crash_at(trial.place.encode())
    shim.crash_arm(str(run).encode(), HOW.index(trial.how), ctypes.c_long(trial.call), trial.error, log)
    try:
        program()
    except SystemExit as end:
        sys.stdout.flush()
        return int(end.code or 0)

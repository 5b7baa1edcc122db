"""How a command ends, and what it says then. Standard library only."""

import faulthandler
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

from trainer.world import World

FAILED = 1
BAD_INPUT = 2
ABORTED = 70  # sysexits' EX_SOFTWARE: by a lost process, disk or network, or an error without a message of ours
INTERRUPTED = 130  # 128 + SIGINT, as shells say

BEGUN = "begun"  # stands for the code while processes work together
EXIT_CODE_VARIABLE = "PROVENET_EXIT_CODE"  # names the file in which `provenet run` looks for the code


def trace_crashes() -> None:
    """Let this process, and each Python that it starts, say where it was when a signal such as SIGSEGV ends it."""
    os.environ.setdefault("PYTHONFAULTHANDLER", "1")
    if sys.stderr:
        faulthandler.enable()


def say(text: str, code: int) -> int:
    """Say on standard error why the command ends; gives its exit code."""
    sys.stderr.write(f"{text}\n")
    return code


class RunEndedError(RuntimeError):
    """Ends a run, and is said in a few lines, without a traceback."""

    code: ClassVar[int] = FAILED
    """Exit code; `BAD_INPUT` where nothing was begun."""
    said_by: ClassVar[Literal["each", "main", "none"]] = "each"
    """Each process that meets it, rank 0 of all that meet it together, or none, as another process says why."""


def refuse(problems: list[str], world: World | None = None) -> int:
    """Say on one screen why nothing was done: rank 0, and in a line the first process of every other machine."""
    world = world or World()
    if not world.is_main:
        if world.local_rank == 0:
            sys.stderr.write(f"rank {world.rank} on {socket.gethostname()} cannot start: {problems[0]}\n")
        return BAD_INPUT
    lines = "".join(f"  {problem}\n" for problem in problems[:12])
    more = f"  and {len(problems) - 12} more\n" if len(problems) > 12 else ""
    sys.stderr.write(f"cannot start; nothing was written\n{lines}{more}")
    return BAD_INPUT


def record(code: int, environment: Mapping[str, str] = os.environ) -> None:
    """Leave the exit code where `provenet run` finds it, if that started us: launchers turn it into 1."""
    _leave(str(code), environment)


def begun(environment: Mapping[str, str] = os.environ) -> None:
    """Note there that the run has begun: where NCCL or the system ends this process, it leaves no code."""
    _leave(BEGUN, environment)


def _leave(text: str, environment: Mapping[str, str]) -> None:
    name = environment.get(EXIT_CODE_VARIABLE)
    if not name or not _is_first_here(environment) or not Path(name).exists():  # on another machine there is none
        return
    with suppress(OSError):  # the code still goes the usual way
        Path(name).write_text(text)


def _is_first_here(environment: Mapping[str, str]) -> bool:
    """Whether this is the first process on its machine: each machine may have a launcher that waits for a code."""
    alone = environment.get("WORLD_SIZE") == "1"  # whatever its local rank
    return alone or environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0")) == "0"

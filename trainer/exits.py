"""Exit codes of commands, and their messages. Standard library only."""

import errno
import faulthandler
import os
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

from data.names import lines, shown
from trainer.world import World

FAILED = 1
BAD_INPUT = 2
ABORTED = 70  # sysexits' EX_SOFTWARE: by a lost process, disk or network, or an error without a message of ours
INTERRUPTED = 130  # 128 + SIGINT, as shells say

BEGUN = "begun"  # in the file of the exit code, while the run goes on
KILLED = "killed before it stopped cleanly"  # why a run ended that was told to stop, and wrote no code
EXIT_CODE_VARIABLE = "PROVENET_EXIT_CODE"  # names the file from which `provenet run` reads the exit code

# a full disk, a quota, a limit of sizes, a file system or folder that cannot be written: it would fail again
_LASTING = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EEXIST),  # something else lies there
)


def trace_crashes() -> None:
    """Let this process, and each Python that it starts, print its stack when a signal such as SIGSEGV ends it."""
    os.environ.setdefault("PYTHONFAULTHANDLER", "1")
    if sys.stderr:
        faulthandler.enable()


def note(text: str) -> None:
    """Write to stderr, with names escaped."""
    sys.stderr.write(f"{lines(text)}\n")


def say(text: str, code: int) -> int:
    """Write why the command ends to stderr, and for the launcher; returns `code`, its exit code."""
    note(text)
    _write(f"{code}\n{lines(text)}", os.environ)
    return code


class RunEndedError(RuntimeError):
    """Ends a run with a message of a few lines, without a traceback."""

    code: int = FAILED
    """Exit code; `BAD_INPUT` if nothing was begun."""
    said_by: ClassVar[Literal["each", "main", "none"]] = "each"
    """Who prints it: each process in which it is raised, rank 0 if it is raised in all, or none: another prints why."""


def code_of(error: OSError) -> int:
    """The exit code of a run that a disk, file or network has ended: `FAILED` where a person must act first."""
    return FAILED if error.errno in _LASTING else ABORTED


def refuse(problems: list[str], world: World | None = None) -> int:
    """Write to stderr why nothing was done: rank 0 up to 12 problems, the first process of each other machine one."""
    world = world or World()
    if not world.is_main:
        if world.local_rank == 0:
            sys.stderr.write(f"rank {world.rank} on {socket.gethostname()} cannot start: {shown(problems[0])}\n")
        return BAD_INPUT
    listed = "".join(f"  {problem}\n" for problem in problems[:12])
    more = f"  and {len(problems) - 12} more\n" if len(problems) > 12 else ""
    note(f"cannot start; nothing was written\n{listed}{more}".rstrip("\n"))
    _write("\n".join([str(BAD_INPUT), *map(lines, problems)]), os.environ)
    return BAD_INPUT


def resumable(run: Callable[[], int]) -> int:
    """Run a command; if it ends early, print why and that the same command continues. Returns the exit code."""
    try:
        return run()
    except KeyboardInterrupt:
        return say("interrupted; the same command goes on from here", INTERRUPTED)
    except BrokenExecutor:
        return say("failed: a worker was killed (out of memory?); the same command goes on from here", FAILED)
    except BrokenPipeError:  # the reader of the output is gone
        return 0
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return say(f"failed: {reason}; once that is fixed, the same command goes on from here", FAILED)


def record(code: int, environment: Mapping[str, str] = os.environ) -> None:
    """Write the exit code to the file that PROVENET_EXIT_CODE names, if it is set, as launchers replace it by 1."""
    _write(str(code), environment)


def begun(environment: Mapping[str, str] = os.environ) -> None:
    """Write to that file that the run has begun: if NCCL or the system kills this process, it cannot write a code."""
    _write(BEGUN, environment)


def _write(text: str, environment: Mapping[str, str]) -> None:
    name = environment.get(EXIT_CODE_VARIABLE)
    # the first process of each machine writes, as each may have a launcher that waits for a code
    local_rank = environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0"))
    is_first = local_rank == "0" or environment.get("WORLD_SIZE") == "1"
    if name and is_first and Path(name).exists():  # on other machines it does not exist
        with suppress(OSError):  # the process still ends with the code
            if not Path(name).read_text().startswith(f"{text}\n"):  # the code with its reason
                Path(name).write_text(text)

"""How a command ends: its exit code, and what it says on standard error. Standard library only."""

import faulthandler
import os
import sys
from textwrap import indent

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


def trace_crashes() -> None:
    """Let this process, and each Python that it starts, say where it was when a signal such as SIGSEGV ends it."""
    os.environ.setdefault("PYTHONFAULTHANDLER", "1")
    if sys.stderr:
        faulthandler.enable()


def say(text: str, code: int) -> int:
    """Say why the command ends; gives its exit code."""
    sys.stderr.write(f"{text}\n")
    return code


def refuse(problems: str) -> int:
    """Say what is wrong with the input, one line each; gives the exit code."""
    return say(f"cannot start; nothing was written\n{indent(problems, '  ')}", BAD_INPUT)

"""How the bench talks with the processes that it times: a line in, a line of JSON out. Standard library only."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from subprocess import Popen
from typing import IO, Any


class FailedError(Exception):
    """A process of the bench ended before its time; the message is the last that it said."""


def lines_out() -> Callable[[dict[str, Any]], None]:
    """In such a process, keep standard output for its answers: what packages print goes to standard error."""
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(facts: dict[str, Any]) -> None:
        ours.write(json.dumps(facts) + "\n")
        ours.flush()

    return say


def ask(process: "Popen[str]", line: str, errors: IO[bytes]) -> dict[str, Any]:
    """Its answer to a line.

    Raises:
        FailedError: It ended.
    """
    assert process.stdin
    with suppress(BrokenPipeError):  # then there is no answer either
        process.stdin.write(line)
        process.stdin.flush()
    return hear(process, errors)


def hear(process: "Popen[str]", errors: IO[bytes]) -> dict[str, Any]:
    """What it says next.

    Args:
        process: With pipes for its standard input and output.
        errors: Its standard error.

    Raises:
        FailedError: It ended.
    """
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        errors.seek(0)
        raise FailedError(last_words(errors.read().decode(errors="replace"), code))
    return json.loads(line)


def last_words(said: str, code: int) -> str:
    """The last line of an error output, which for an exception is the exception."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"ended with code {code}"

"""Programs as they show themselves: on a terminal of our own making, and without one."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import NamedTuple

from tests.commands import HANGS_S

_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shown(NamedTuple):
    """What a terminal got, without the sequences that move its cursor, and how the program ended."""

    text: str
    code: int


def on_terminal(*arguments: object, environment: Mapping[str, str] | None = None) -> Shown:
    """`python ARGUMENTS` with all three streams on a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", **(environment or {})}
    got: list[bytes] = []

    def read() -> None:
        while True:
            try:
                got.append(os.read(ours, 1 << 16))
            except OSError:  # its other end is closed
                return

    reader = threading.Thread(target=read)
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=variables
    )
    os.close(theirs)
    reader.start()
    code = process.wait(timeout=HANGS_S)
    reader.join()
    os.close(ours)
    return Shown(_MOVES.sub("", b"".join(got).decode()), code)


def without_terminal(*arguments: object, environment: Mapping[str, str] | None = None) -> Shown:
    """The same into a pipe."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=HANGS_S,
        env={**os.environ, **(environment or {})},
    )
    return Shown(done.stdout, done.returncode)

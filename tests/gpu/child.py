"""A section in a process of its own, which is killed at its limit: neither a hang nor a crash ends the others."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from time import monotonic
from uuid import uuid4

from tests.benchmarks.contestant import last_words
from tests.gpu.stage import ROOT, Check, Stage

SHOWN = 4000  # characters of what a section that failed wrote to standard error
MARK = "PROVENET_SECTION"  # variable by which all processes of a section are known, whatever session they are in


def run(command: list[str], limit_s: float, show: Callable[[Check], None], stage: Stage) -> float:
    """Run a section and show its checks as they come, and one that failed where it does not end well; its seconds."""
    mark, begun, well = uuid4().hex, monotonic(), True
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=stage.environment | {MARK: mark},
        )
        assert process.stdout
        late = Timer(limit_s, kill, [mark, process])
        late.start()
        try:
            for line in process.stdout:
                show(check := Check(**json.loads(line)))
                well &= check.passed
            process.wait()
        finally:
            late.cancel()
            kill(mark, process)
            process.wait()
            process.stdout.close()
        errors.seek(0)
        said = errors.read()
        if process.returncode or not well:
            sys.stderr.write(said[-SHOWN:])
        if process.returncode:
            hung = monotonic() - begun >= limit_s
            figure = f"no end after {limit_s:.0f} s" if hung else last_words(said, process.returncode)
            show(Check(what="the section ends", figure=figure, goal="exit code 0", passed=False))
    return monotonic() - begun


def kill(mark: str, first: "subprocess.Popen[str]") -> None:
    """SIGKILL every process of a section; the first in any case, should the others not be found."""
    first.kill()
    wanted = f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)

"""One side of a comparison in a process of its own, or in several ranks: started, given turns, ended.

The process gets a line on its standard input for each turn, and answers with a line of JSON; its first line says that
it is ready. The end of its input ends it. Standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.cpus import SLEEPING

PACKAGES = Path(__file__).parents[2]
EXIT_S = 30.0


class FailedError(Exception):
    """A process that is timed ended before its time; the message is the last that it said."""


class Contestant:
    """A worker of this package, `python -m tests.benchmarks.WORKER TASK`."""

    def __init__(self, worker: str, task: str, variables: Mapping[str, str], ranks: int = 1) -> None:
        """Start it and wait until it is ready.

        Raises:
            FailedError: It ended.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the rest
        # torchrun makes a world of its ranks, also of one
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", *launcher, f"tests.benchmarks.{worker}", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=variables,
            start_new_session=True,  # Ctrl-C reaches us alone, and its workers are known by their session
        )
        try:
            self.ready = self._hear()
        except BaseException:
            self.close()
            raise

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer to a line.

        Raises:
            FailedError: It ended.
        """
        assert self.process.stdin
        with suppress(BrokenPipeError):  # then there is no answer either
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        return self._hear()

    def close(self) -> None:
        """End it and all that it started."""
        assert self.process.stdin
        assert self.process.stdout
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        end(self.process)
        self.process.stdout.close()
        self._errors.close()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout
        if line := self.process.stdout.readline():
            return json.loads(line)
        code = self.process.wait()
        self._errors.seek(0)
        raise FailedError(last_words(self._errors.read().decode(errors="replace"), code))


def lines_out() -> Callable[[dict[str, Any]], None]:
    """In a worker, keep standard output for its answers: what packages print goes to standard error."""
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(facts: dict[str, Any]) -> None:
        ours.write(json.dumps(facts) + "\n")
        ours.flush()

    return say


def last_words(said: str, code: int) -> str:
    """The last line of an error output, which for an exception is the exception."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"ended with code {code}"


def environment(threads: int | None = None) -> dict[str, str]:
    """Of every process that is timed: this project to import, and where `threads` is given, so many of OpenMP's.

    OpenMP's threads then sleep while they wait.
    """
    path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    computing = {"OMP_NUM_THREADS": str(threads), **SLEEPING} if threads else {}
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | computing


def end(process: "subprocess.Popen[str]", patience_s: float = EXIT_S) -> None:
    """Give a process, which leads a session, time to end by itself; then ask it, then kill its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
    process.wait()
    with suppress(ProcessLookupError):  # its workers, where it left any
        os.killpg(process.pid, signal.SIGKILL)

"""Whole programs, started as users start them and timed from outside. Standard library only."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.contestant import FailedError, end, environment, last_words

PATIENCE_S = 3600.0
LOOK_S = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command, and how it tells that a step is done."""

    name: str
    command: tuple[str, ...]
    threads: int
    done: str
    """Regular expression of the line that it prints after each step, or that our trainer writes to `record`."""
    record: Path | None = None
    """metrics.jsonl of our trainer."""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of its environment."""


def steps(program: Program, count: int) -> list[float]:
    """Seconds from a program's start to the ends of its first `count` steps; then it is killed. On the CPU.

    Raises:
        FailedError: It ended before that.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.time()
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program.record is None else output,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(program.threads) | {"CUDA_VISIBLE_DEVICES": "", **program.variables},
            start_new_session=True,
        )
        try:
            look = _recorded if program.record else _printed
            return [moment - start for moment in look(program, process, count)]
        except _EndedError as error:
            output.seek(0)
            said = last_words(error.args[0] or output.read(), process.wait())
            raise FailedError(f"{program.name}: {said}") from None
        finally:
            end(process, patience_s=0)
            if process.stdout:
                process.stdout.close()


def _printed(program: Program, process: "subprocess.Popen[str]", count: int) -> list[float]:
    """When the lines came."""
    assert process.stdout
    moments, said = list[float](), list[str]()
    while len(moments) < count:
        line = process.stdout.readline()
        if not line:
            raise _EndedError("".join(said[-20:]))
        said.append(line)
        if re.search(program.done, line):
            moments.append(time.time())
    return moments


def _recorded(program: Program, process: "subprocess.Popen[str]", count: int) -> list[float]:
    """The times that stand in the lines."""
    assert program.record
    while True:
        alive = process.poll() is None
        lines = list[str]()
        with suppress(FileNotFoundError):
            lines = [line for line in program.record.read_text().splitlines() if re.search(program.done, line)]
        if len(lines) >= count:
            return [float(json.loads(line)["time"]) for line in lines[:count]]
        if not alive:
            raise _EndedError("")
        time.sleep(LOOK_S)


class _EndedError(Exception):
    """The program ended too early; its argument is what it said."""

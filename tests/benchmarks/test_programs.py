"""Programs of a line or two, to be timed from outside."""

import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.contestant import FailedError
from tests.benchmarks.programs import Program, steps
from tests.commands import HANGS_S

TALKS = """
import time
print("loading", flush=True)
for step in range(9):
    time.sleep(0.2)
    print(f"step {step}", flush=True)
time.sleep(3600)
"""

WRITES = """
import json, sys, time
with open(sys.argv[1], "w") as stream:
    for kind in ("start", "train", "eval", "train"):
        stream.write(json.dumps({"kind": kind, "time": time.time() + 100}) + chr(10))
        stream.flush()
time.sleep(3600)
"""


def program(code: str, *arguments: object, record: Path | None = None, done: str = "^step") -> Program:
    command = (sys.executable, "-c", code, *map(str, arguments))
    return Program(name="it", command=command, threads=1, done=done, record=record)


def test_a_program_is_timed_by_what_it_prints_and_killed_then() -> None:
    start = time.monotonic()
    first, second, third = steps(program(TALKS), 3)
    assert 0.2 < first < second < third
    assert third - first >= 0.3
    assert time.monotonic() - start < HANGS_S


def test_our_trainer_is_timed_by_what_it_records(tmp_path: Path) -> None:
    record = tmp_path / "metrics.jsonl"
    moments = steps(program(WRITES, record, record=record, done='"kind": "train"'), 2)
    assert all(100 < moment < 120 for moment in moments)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_program_that_ends_early_is_quoted(tmp_path: Path, recorded: bool) -> None:
    record = tmp_path / "metrics.jsonl" if recorded else None
    with pytest.raises(FailedError, match=r"^it: ValueError: no such network$"):
        steps(program("print('step 0'); raise ValueError('no such network')", record=record), 2)

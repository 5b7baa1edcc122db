"""Each cell of the table of exit codes in `trainer/FORMATS.md`, tried on a tiny run."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from tests.system.crash.codes import PLACES, stop_in

PAGE = Path(__file__).parents[2] / "trainer/FORMATS.md"


def cells() -> Iterator[tuple[str, str, int]]:
    """Event, phase and exit code."""
    _, table = PAGE.read_text().split("## Exit codes")
    rows = [[cell.strip() for cell in row[1:-1].split("|")] for row in re.findall(r"^\|.*\|$", table, re.MULTILINE)]
    assert rows[0] == ["", *PLACES]
    for event, *codes in rows[2:]:
        for phase, code in zip(PLACES, codes, strict=True):
            if code:
                yield event, phase, 128 + stop_in(phase) if code == "128 + n" else int(code)


@pytest.mark.slow
def test_a_run_to_which_something_happens_ends_with_the_code_on_the_page() -> None:
    expected = list(cells())
    asked = json.dumps([(event, phase) for event, phase, _ in expected])
    command = [sys.executable, "-m", "tests.system.crash.codes"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=HANGS_S)
    got = json.loads(done.stdout)
    assert [(*cell[:2], code) for cell, code in zip(expected, got, strict=True)] == expected

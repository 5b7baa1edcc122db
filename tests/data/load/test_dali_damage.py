import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.load.damage import CASES, HEADER, VICTIMS

HEADERS = {number for number, kind in VICTIMS.items() if kind in HEADER}


@pytest.mark.parametrize("cases", [range(2), pytest.param(range(2, len(CASES)), marks=pytest.mark.slow)], ids=str)
def test_no_damage_ends_the_process_and_every_damaged_header_is_a_broken_image(tmp_path: Path, cases: range) -> None:
    """At batch sizes at which DALI parses with several threads, where an error of its parser is a SIGSEGV."""
    command = [sys.executable, "-m", "tests.data.load.damage", str(tmp_path), *map(str, cases)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-2000:]
    passes = json.loads(done.stdout)
    assert len(passes) == 2 * len(cases)
    for *case, train, broken in passes:
        assert HEADERS <= set(broken) <= set(VICTIMS), (case, train)

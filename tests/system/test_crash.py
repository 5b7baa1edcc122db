"""A sample of `make crash`, which ends a tiny run at every call that changes its directory."""

import subprocess
import sys

import pytest

from tests.commands import HANGS_S

HEAD = ["kind", "instants", "identical", "otherwise"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    ["--kinds kill torn errors --sample 4", "--kinds kill --ranks 2 --sample 2"],
)
def test_a_run_that_is_killed_at_any_call_ends_as_one_that_is_not(flags: str) -> None:
    command = [sys.executable, "-m", "tests.system.crash", *flags.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS_S)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.splitlines()
    rows = [line.rsplit(maxsplit=3) for line in table[1 + [*map(str.split, table)].index(HEAD) :]]
    assert rows
    assert all(int(identical) > 0 and otherwise == "0" for _, _, identical, otherwise in rows)

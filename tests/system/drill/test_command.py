import os
from pathlib import Path

import pytest

from tests import commands
from tests.system.drill.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "RECIPE"),
        (["demmo"], "did you mean demo?"),
        (["demo", "--only", "earthquake"], "earthquake"),
        (["demo", "--parallel", "0"], "--parallel: 0; must be at least 1"),
    ],
)
def test_bad_input_is_refused_before_a_cluster_is_brought_up(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = commands.call(main, *arguments)
    assert done.returncode == 2
    assert expected in commands.said(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root")
def test_without_root_the_mend_is_named(tmp_path: Path) -> None:
    os.seteuid(65_534)
    try:
        done = commands.call(main, "demo", "--output", tmp_path / "drill")
    finally:
        os.seteuid(0)
    assert (done.returncode, "put sudo before the command" in done.stderr) == (2, True)

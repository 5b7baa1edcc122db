"""The acceptance run as a program; its sections are rehearsed on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.__main__ import main, table
from tests.gpu.section import IMAGES, SECTIONS, Section
from tests.gpu.stage import ROOT, Check


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_every_section_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert capsys.readouterr().out.splitlines() == [f"SKIP  {name}: no GPU" for name in SECTIONS]


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "engines"])
    assert "choose from" in capsys.readouterr().err


@pytest.mark.parametrize("section", [IMAGES, *SECTIONS.values()], ids=lambda section: section.work)
def test_each_section_is_a_function_that_says_what_it_shows(section: Section) -> None:
    assert section.load().__doc__


def test_the_table_has_a_row_for_each_check() -> None:
    good, bad = Check(what="a", figure="0.99", goal="at least 0.98"), Check(what="b", figure="3", passed=False)
    head, _, columns, rule, *rows = table({"engine": [good], "race": [bad]}, rehearsal=True).splitlines()
    assert head.startswith("measured on a CPU, as a rehearsal, 20")
    assert columns.count("|") == rule.count("|") == 6
    assert rows == ["| engine | a | 0.99 | at least 0.98 | PASS |", "| race | b | 3 |  | FAIL |"]


@pytest.mark.slow
def test_sections_are_rehearsed_on_the_cpu_and_leave_a_table(tmp_path: Path) -> None:
    written = tmp_path / "table.md"
    sections = ("versions", "race")
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "--rehearse", "--only", *sections, "--output", str(written)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "failed: none; not run: none"
    assert {line.split(" ")[1] for line in written.read_text().splitlines()[4:]} == {"images", *sections}

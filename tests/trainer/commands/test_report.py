from pathlib import Path

import pytest

from tests import commands
from tests.trainer.evidence.runs import RESULT, START, recipe, train_records, write
from trainer.commands.cli import main

RECORDS = [START, *train_records(4)]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three seeds, the last of them not finished."""
    for seed, top1 in enumerate((76.1, 76.3, None)):
        result = None if top1 is None else {**RESULT, "top1": top1}
        write(tmp_path / f"seed={seed}", recipe(seed=seed), RECORDS, result)
    (tmp_path / "seed=0" / "checkpoints").mkdir()
    return tmp_path


def test_one_run_s_files_are_written_and_its_verdict_and_places_said(sweep: Path) -> None:
    done = commands.call(main, "report", sweep / "seed=0")
    assert done.returncode == 0
    assert done.stdout.startswith("reproduced: Top-1 76.10 %")
    for name in ("report.md", "report.html", "curves.png"):
        assert (sweep / "seed=0" / name).stat().st_size > 0
        assert str(sweep / "seed=0" / name) in done.stdout
    assert not (sweep / "seed=1" / "report.md").exists()


def test_several_runs_are_a_table_and_each_has_its_report(sweep: Path) -> None:
    done = commands.call(main, "report", sweep / "seed=0", sweep / "seed=1")
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["recipe", "runs"]
    assert "76.20 +- 0.14" in lines[1]
    assert "torchvision" in lines[2]
    assert "resnet50: reproduced: Mean top-1 76.20 +- 0.14 % over 2 seeds" in done.stdout
    assert (sweep / "seed=1" / "report.html").exists()


def test_a_folder_of_runs_stands_for_them_and_a_run_counts_once(sweep: Path) -> None:
    done = commands.call(main, "report", sweep, sweep / "seed=0", "--markdown")
    assert "| resnet50 | 2 of 3 | 76.20 +- 0.14 |" in done.stdout
    assert (sweep / "seed=2" / "report.md").exists()


def test_one_run_as_markdown_is_a_table_of_one(sweep: Path) -> None:
    assert "| resnet50 | 1 | 76.10 |" in commands.call(main, "report", sweep / "seed=0", "--markdown").stdout


def test_several_runs_are_compared_on_a_page(sweep: Path) -> None:
    done = commands.call(main, "report", sweep / "seed=0", sweep / "seed=2", "--output", sweep / "all.md")
    assert done.returncode == 0
    assert "| seed=2 | A | stopped | - | - |" in (sweep / "all.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "RUN: missing; name one run directory or more"),
        (["SWEEP/seed=0", "SWEEP/none"], "SWEEP/none is not a run directory: there is no such folder"),
        (["SWEEP/seed=0/checkpoints"], "SWEEP/seed=0/checkpoints is not a run directory: it holds no recipe.yaml"),
        (["SWEEP/seed=0", "SWEEP/seed=1"], "SWEEP/seed=1/result.json: damaged"),
        (["SWEEP/seed=0", "SWEEP/seed=0", "--output", "SWEEP/f.md"], "2 to 20 runs, each counted once; here are 1"),
        (["SWEEP/seed=0", "SWEEP/seed=2", "--output", "SWEEP/f.txt"], "f.txt; name a file that ends in .md"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_nothing_is_written(
    sweep: Path, arguments: list[str], expected: str
) -> None:
    (sweep / "seed=1" / "result.json").write_text("{")
    done = commands.call(main, "report", *(argument.replace("SWEEP", str(sweep)) for argument in arguments))
    assert done.returncode == 2
    assert expected.replace("SWEEP", str(sweep)) in commands.said(done)
    assert list(sweep.rglob("report.*")) == []

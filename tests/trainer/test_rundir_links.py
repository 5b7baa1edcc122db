"""A symbolic link that another user of the folder has put where the program writes: its target is not overwritten."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from data.durable import replace
from data.output_folder import alone
from data.verify import scan_journal
from launch import attempts, job
from launch.array import results
from launch.submission import LaunchFolder
from tests.launch.test_submission import SUBMISSION
from tests.trainer.evaluation.answers import answered
from tests.trainer.evaluation.test_outcome import IMAGES, ROWS, TRUTH
from trainer import at_work
from trainer.checkpoint import files, holder_file, store
from trainer.evaluation import outcome, predictions
from trainer.recipe.config import Recipe
from trainer.rundir import RunDirectory, write_text
from trainer.telemetry.journal import Journal

ANSWERS = answered([0, 1, 2], [0, 1, 1], [0.9, 0.8, 0.7])


def log(run: RunDirectory) -> None:
    journal = Journal(run, 0, 0, print)
    journal.write("start", 0, {})
    journal.close()


def begin_work(run: RunDirectory) -> None:
    with ExitStack() as stack:
        at_work.begin(run, 0, (4, 4), stack)


def report_death(run: RunDirectory) -> None:
    run.at_work.mkdir()
    (run.at_work / "rank0-trace.txt").touch()
    at_work.report(run, print)


def evaluate(run: RunDirectory) -> None:
    answers = outcome.predictions(ROWS, IMAGES, TRUTH)
    outcome.write(answers, TRUTH, run.evaluations)


def compare(run: RunDirectory) -> None:
    predictions.write_comparison(predictions.compare(ANSWERS, ANSWERS), ANSWERS, ANSWERS, run.evaluations)


def write_checkpoint(run: RunDirectory) -> None:
    store.write(run.checkpoints, 1, {"model": {"w": torch.zeros(1)}, "about": {}})


def wait_for_a_slot(run: RunDirectory) -> None:
    with job.slot(run.path / "launch", 1):
        pass


def lock(run: RunDirectory) -> None:
    with alone(run.path / ".lock"):
        pass


def scan(run: RunDirectory) -> None:
    with scan_journal.opened(run.path / "scan") as journal:
        journal.add([])


def summarize(run: RunDirectory) -> None:
    LaunchFolder(run.path).make()
    results.keep(run.path, [])


def copy(run: RunDirectory) -> None:
    files.copy(Path(__file__), run.weights)


def attempt(run: RunDirectory) -> None:
    attempts.begin(LaunchFolder(run.path).attempts, job="1", restart=0, nodes="n", step=0)


def submit(run: RunDirectory) -> None:
    LaunchFolder(run.path).record(SUBMISSION)
    LaunchFolder(run.path).cancel("12")


WRITERS: list[tuple[str, Callable[[RunDirectory], object]]] = [
    (".recipe.yaml.tmp", lambda run: run.begin(Recipe())),
    (".report.md.tmp", lambda run: write_text(run.report, "x")),
    (".result.json.tmp", lambda run: replace(run.result, b"x")),
    (".model.safetensors.tmp", copy),
    (".metrics.jsonl.tmp", lambda run: Journal(run, 0, 0, print).close()),
    ("metrics.jsonl", log),
    ("holder.json", lambda run: os.ftruncate(holder_file.open_file(run.holder), 0)),
    ("at_work/rank0-train", begin_work),
    ("at_work/rank0-val", begin_work),
    ("at_work/rank0-trace.txt", begin_work),
    ("deaths.txt", report_death),
    ("checkpoints/step-0000000001.tmp", write_checkpoint),
    ("evaluations/.predictions.npz.PID.tmp", evaluate),
    ("evaluations/classes.csv", evaluate),
    ("evaluations/.evaluation.json.tmp", evaluate),
    ("evaluations/differences.csv", compare),
    ("evaluations/.comparison.json.tmp", compare),
    ("launch/attempts.jsonl", attempt),
    ("launch/.submission.json.tmp", submit),
    ("launch/.cancelled.tmp", submit),
    ("launch/slot-0", wait_for_a_slot),
    ("launch/sweep.lock", summarize),
    ("launch/.sweep.json.tmp", summarize),
    (".summary.md.tmp", summarize),
    (".lock", lock),
    ("scan", scan),
]
NOT_SAID = ("at_work/rank0-train", "at_work/rank0-val", "at_work/rank0-trace.txt", "deaths.txt")
"""What a run can do without."""


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])
def test_no_file_elsewhere_is_written_through_a_link(
    tmp_path: Path, name: str, write: Callable[[RunDirectory], object]
) -> None:
    run, link = RunDirectory(tmp_path / "run"), tmp_path / "run" / name.replace("PID", str(os.getpid()))
    target = tmp_path / "target"
    target.write_text("mine")
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    refused = False
    try:
        write(run)
    except OSError as error:
        refused = True
        assert str(run.path) in str(error)
    assert target.read_text() == "mine"
    assert refused or not link.is_symlink() or name in NOT_SAID  # so it was in the way of the writer

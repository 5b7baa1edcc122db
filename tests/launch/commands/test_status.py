import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch import attempts
from launch.attempts import End, Then
from launch.commands.status import Status, collect
from launch.progress import Progress
from launch.status_table import Row
from launch.submission import LaunchFolder, Submission
from tests import commands
from trainer.recipe.config import Recipe
from trainer.recipe.recipes import dump
from trainer.rundir import RunDirectory


def make(path: Path, job: str | None = None, *ends: Then | None, step: int = 50) -> RunDirectory:
    """A run directory with metrics up to a step; with a job, one attempt for each end."""
    run, folder = RunDirectory(path), LaunchFolder(path)
    run.make()
    run.recipe.write_text(dump(Recipe()))
    now = time.time()
    records = (
        {"kind": "start", "step": 0, "total_steps": 450, "steps_per_epoch": 5, "time": now},
        {"kind": "eval", "step": step, "epoch": step // 5, "top1": 71.234, "time": now},
        {"kind": "train", "step": step, "epoch": step // 5, "images_per_s": 512.0, "time": now},
    )
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    if job:
        folder.make()
        log = str(folder.path / f"{job}_0_log.out")
        folder.record(Submission(job=job, kind="slurm", time=now, log=log, code="c", commit="c", request={}, site={}))
        for end in ends:
            begun = attempts.begin(folder.attempts, job=job, restart=0, nodes="n1", step=0)
            if end:
                attempts.end(folder.attempts, begun, End(code=75, step=40, then=end, why="its reason", time=now))
        if ends:  # they began long ago
            folder.attempts.write_text(re.sub(r'"time": [0-9.]+', '"time": 1.0', folder.attempts.read_text()))
    return run


@pytest.fixture(autouse=True)
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A squeue that knows jobs 1, running, and 2, waiting, and says how it was called; no accounting."""
    folder = tmp_path / "bin"
    folder.mkdir()
    text = f"#!/bin/sh\necho $* >> {folder}/calls\nprintf '1|RUNNING|None|1\\n2|PENDING|Resources|N/A\\n'\n"
    (folder / "squeue").write_text(text)
    (folder / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def rows(root: Path) -> dict[str, Row]:
    return {row.run: row for row in collect(root, {}).rows}


def test_a_row_says_all_of_a_running_run(tmp_path: Path) -> None:
    make(tmp_path / "r" / "a", "1", "again", None)
    (row,) = collect(tmp_path / "r", {}).rows
    assert [replace(row, progress=replace(row.progress, updated=None))] == [
        Row(
            run="a",
            state="running",
            job="1",
            progress=Progress(step=50, total_steps=450, epoch=11, epochs=90, top1=71.234, images_per_s=512.0),
            restarts=1,
            eta_s=400 * 256 / 512,
            note="on n1",
        )
    ]


def test_figures_from_before_a_restart_are_not_taken_for_those_of_now(tmp_path: Path) -> None:
    run = make(tmp_path / "r" / "a", "1", "again", None)
    folder = LaunchFolder(run.path)
    attempts.begin(folder.attempts, job="1", restart=0, nodes="n1", step=40)
    (row,) = collect(tmp_path / "r", {}).rows
    assert (row.state, row.note, row.eta_s) == ("running", "starting from step 40; on n1", None)
    with run.metrics.open("a") as stream:
        stream.write(json.dumps({"kind": "start", "step": 40, "total_steps": 450, "time": time.time()}) + "\n")
    (row,) = collect(tmp_path / "r", {}).rows
    assert row.note == "on n1"
    assert row.eta_s is not None


def test_all_states_take_one_call_of_squeue(tmp_path: Path, slurm: Path) -> None:
    root = tmp_path / "r"
    make(root / "finished", "4", "done").result.write_text('{"top1": 50}')
    make(root / "lost", "3", None)
    make(root / "plain")
    make(root / "queued", "2")
    make(root / "running", "1", None)
    make(root / "stopped", "5", "stopped")
    make(root / "waiting", "2", "again")
    found = rows(root)
    assert {name: row.state for name, row in found.items()} == {
        "finished": "finished",
        "lost": "lost",
        "plain": "not running",
        "queued": "queued",
        "running": "running",
        "stopped": "stopped",
        "waiting": "waiting",
    }
    assert found["lost"].note.endswith(f"; provenet resume {root / 'lost'}")
    assert found["waiting"].note == "its reason; Resources"
    assert [found[name].eta_s is None for name in ("waiting", "finished", "running")] == [True, True, False]
    (call,) = (slurm / "calls").read_text().splitlines()
    assert call.endswith("--jobs=1,2,3")  # of the others nothing has to be asked


def test_folders_are_searched_four_deep_but_not_runs_links_or_hidden_ones(tmp_path: Path) -> None:
    root = tmp_path / "r"
    for name in ("a", "a/inner", "1/2/3/b", "1/2/3/4/too deep", ".hidden/c"):
        make(root / name)
    (root / "link").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    (root / "d" / "recipe.yaml").mkdir(parents=True)
    assert list(rows(root)) == ["1/2/3/b", "a"]
    assert list(rows(root / "a")) == ["."]


@pytest.mark.parametrize(
    ("file", "content", "state", "note"),
    [
        ("recipe.yaml", "epochs: x\n", "running", "epochs: 'x'; expected a whole number"),
        ("recipe.yaml", "[", "running", "not readable as YAML"),
        ("metrics.jsonl", "\0\n{]\n", "running", "on n1"),
        ("result.json", "{", "unknown", "result.json: damaged"),
        ("result.json", "[1]", "unknown", "result.json: damaged"),
        ("result.json", "[" * 100_000, "unknown", "nested too deeply"),
        ("launch/submission.json", "{", "unknown", "submission.json: cannot be read"),
        ("launch/submission.json", "\udcff", "unknown", "submission.json: cannot be read"),
        ("launch/attempts.jsonl", "\0{\n[]\n1\n", "running", "starting"),
        ("launch/cancelled", "\udcff", "unknown", "decode"),
        ("holder.json", "{", "running", "on n1"),
    ],
)
def test_a_damaged_file_costs_its_row_an_error_and_no_more(
    tmp_path: Path, file: str, content: str, state: str, note: str
) -> None:
    run = make(tmp_path / "r" / "a", "1", None)
    make(tmp_path / "r" / "b", "1", None)
    (run.path / file).write_bytes(os.fsencode(content))
    found = rows(tmp_path / "r")
    assert found["a"].state == state
    assert note in found["a"].note
    assert (found["b"].state, found["b"].note) == ("running", "on n1")


@pytest.mark.parametrize("file", ["metrics.jsonl", "holder.json", "launch/submission.json", "launch/attempts.jsonl"])
def test_a_folder_in_a_file_s_place_costs_its_row_an_error_and_no_more(tmp_path: Path, file: str) -> None:
    run = make(tmp_path / "r" / "a", "1")
    (run.path / file).unlink(missing_ok=True)
    (run.path / file).mkdir()
    assert "Is a directory" in rows(tmp_path / "r")["a"].note


def test_a_cluster_that_does_not_answer_is_said_once(tmp_path: Path, slurm: Path) -> None:
    down = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    (slurm / "squeue").write_text(f"#!/bin/sh\necho '{down}' >&2; exit 1\n")
    make(tmp_path / "r" / "a", "1", None)
    make(tmp_path / "r" / "b", "2", None)
    found = collect(tmp_path / "r", {})
    assert [row.state for row in found.rows] == ["unknown", "unknown"]
    assert found.remarks == [f"state unknown: squeue: {down}"]


def test_a_run_that_works_in_silence_is_pointed_out(tmp_path: Path) -> None:
    run = make(tmp_path / "r" / "a", "1", None)
    record = {"kind": "train", "step": 60, "time": time.time() - 3600}
    run.metrics.write_text(json.dumps(record) + "\n")
    assert rows(tmp_path / "r")["a"].note == "on n1; no new record for 60 min"


def test_a_rank_for_which_the_others_of_a_running_run_wait_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "r" / "a", "1", None)
    run.metrics.write_text(json.dumps({"kind": "train", "step": 60, "time": time.time() - 300}) + "\n")
    run.at_work.mkdir()
    waits = f"70 {time.time() - 300}"
    for rank, said in enumerate([waits, "0 0", waits, f"69 {time.time()}", "x"]):
        text = f"1 {said} process {100 + rank} on n{rank}"
        (run.at_work / f"rank{rank}-process").write_text(text.ljust(256))
    waited = "2 of 4 processes have waited 5 min for rank 1 (process 101 on n1), rank 3 (process 103 on n3)"
    assert rows(tmp_path / "r")["a"].note == f"on n1; {waited}"
    (run.at_work / "rank0-process").unlink()
    (run.at_work / "rank2-process").unlink()
    assert "rank 1 (process 101 on n1)" in rows(tmp_path / "r")["a"].note
    for rank in range(4):
        (run.at_work / f"rank{rank}-process").write_text("1 0 0 process 7 on n1")
    assert rows(tmp_path / "r")["a"].note == "on n1"


def test_a_rank_that_has_been_slower_for_long_is_named(tmp_path: Path) -> None:
    run, slow = make(tmp_path / "r" / "a", "1", None), {"slowest_rank": 3, "slowest_ratio": 1.52}
    for points, note in (
        (9, "on n1"),
        (10, "on n1; rank 3 works 1.5 times as long in each step as the median process"),
    ):
        record = {"kind": "train", "step": 60, "time": time.time(), "slow_points": points, **slow}
        run.metrics.write_text(json.dumps(record) + "\n")
        assert rows(tmp_path / "r")["a"].note.partition("; the others")[0] == note


def test_a_run_that_nobody_queued_and_that_diverged_says_so(tmp_path: Path) -> None:
    run, record = (
        make(tmp_path / "r" / "a"),
        {"kind": "diverged", "step": 60, "first": 52, "why": "the loss is no number"},
    )
    before = run.metrics.read_text()
    run.metrics.write_text(before + json.dumps(record) + "\n")
    row = rows(tmp_path / "r")["a"]
    assert (row.state, row.note) == ("not running", "diverged at step 52: the loss is no number")
    run.metrics.write_text(run.metrics.read_text() + before)  # it was started again
    assert rows(tmp_path / "r")["a"].note == ""


def said(**flags: Any) -> tuple[int, str]:
    done = commands.call(lambda _: Status(**flags).run())
    return done.returncode, commands.said(done)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"root": Path("nowhere")}, "ROOT: nowhere does not exist"),
        ({"root": Path("/etc/hostname")}, "ROOT: /etc/hostname is a file; name a folder"),
        ({"watch": (0.5,)}, "--watch[0]: 0.5; must be at least 1 and at most 3600"),
        ({"watch": (2.0, 3.0)}, "--watch: 2 numbers; give one, or none"),
        ({"watch": (), "json": True}, "--watch: never ends, and --json prints one array; choose one"),
        ({"watch": ()}, "--watch: needs a terminal, and the output is none; leave it out, or use --json in a loop"),
    ],
)
def test_bad_input_is_refused(flags: dict[str, Any], expected: str) -> None:
    code, text = said(**flags)
    assert code == 2
    assert expected in text


def test_the_current_folder_s_runs_are_shown_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said() == (0, "no run directory in .: none holds a recipe.yaml")
    make(Path("here"))
    assert "here not running" in said()[1]
    make(Path("runs/there"))
    assert said()[1].split()[10:13] == ["there", "not", "running"]


def test_json_is_one_array(tmp_path: Path) -> None:
    make(tmp_path / "r" / "a", "1", None)
    code, text = said(root=tmp_path / "r", json=True)
    (row,) = json.loads(text)
    assert code == 0
    assert row == {
        "run": "a",
        "state": "running",
        "job": "1",
        "step": 50,
        "total_steps": 450,
        "epoch": 11,
        "epochs": 90,
        "top1": 71.234,
        "images_per_s": 512.0,
        "restarts": 0,
        "eta_s": 200.0,
        "note": "on n1",
    }

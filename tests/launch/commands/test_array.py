import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import job
from launch.cli import main
from launch.submission import LaunchFolder
from tests import commands
from tests.launch import stand_ins

BASE = "model: {name: resnet18, num_classes: 4}\ninput: {train_size: 32, eval_resize: 36, eval_crop: 32}\n"
SWEEP = "recipe: base.yaml\ngrid:\n  optimizer.lr: [0.1, 0.2]\n  seed: [0, 1]\n"
NAMES = ["lr=0.1,seed=0", "lr=0.1,seed=1", "lr=0.2,seed=0", "lr=0.2,seed=1"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, calls: Path) -> None:
    """The files; sbatch keeps what it is given."""
    (tmp_path / "base.yaml").write_text(f"{BASE}global_batch: 16\nmicro_batch: 8\n")
    (tmp_path / "lr.yaml").write_text(SWEEP)
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(sbatch.read_text() + f'cp "$1" {tmp_path}/script\n')
    assert not calls.exists()


def array(folder: Path, images: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    return commands.call(main, "array", folder / "lr.yaml", "--data", images, "--output", folder / "sweep", *flags)


def test_runs_are_queued_as_one_array_so_many_at_a_time(images: Path, tmp_path: Path, calls: Path) -> None:
    done = array(tmp_path, images, "--parallel", 3, "--partition", "gpu")
    assert done.returncode == 0, done.stderr
    assert len(stand_ins.called(calls, "sbatch")) == 1
    lines = (tmp_path / "script").read_text().splitlines()
    assert {"#SBATCH --array=0-3%3", "#SBATCH --partition=gpu", "#SBATCH --job-name=sweep"} <= set(lines)
    assert f"#SBATCH --output={tmp_path}/sweep/launch/%A_%a_0_log.out" in lines
    (jobs,) = [line for line in lines if line.startswith("{")]
    for index, name in enumerate(NAMES):
        submission = LaunchFolder(tmp_path / "sweep" / name).submission()
        assert submission and submission.job == f"12_{index}"
        task = {"SLURM_ARRAY_TASK_ID": str(index)}
        assert job.own(jobs, task).site.output == tmp_path / "sweep" / name
        assert f"lr: {name[3:6]}" in (tmp_path / "sweep" / name / "recipe.yaml").read_text()
    assert "4 runs are queued, 3 at a time, as 12_0 to 12_3" in done.stdout
    assert "| optimizer.lr 0.1 | 0 of 2 |" in (tmp_path / "sweep" / "summary.md").read_text()


def test_an_array_is_queued_and_recorded_though_nobody_reads_what_is_printed(images: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ("array", tmp_path / "lr.yaml", "--data", images, "--output", tmp_path / "sweep")
    done = subprocess.run(
        [sys.executable, "-m", "launch", *words], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "stdout cannot be written: Broken pipe; it is dropped\n")
    assert "| optimizer.lr 0.1 | 0 of 2 |" in (tmp_path / "sweep" / "summary.md").read_text()
    assert all(LaunchFolder(tmp_path / "sweep" / name).submission() for name in NAMES)


def test_the_same_command_skips_what_is_finished_queued_or_running(images: Path, tmp_path: Path, calls: Path) -> None:
    assert array(tmp_path, images).returncode == 0
    stand_ins.finish(tmp_path / "sweep" / NAMES[0], 50)
    (tmp_path / "queue").write_text("12_1|RUNNING|None|N/A\n12_2|PENDING|Resources|N/A\n")
    assert "4 runs, 3 of them finished, running or queued\n" in array(tmp_path, images, "--dry-run").stdout
    done = array(tmp_path, images)
    assert "1 runs are queued" in done.stdout
    (again,) = [
        name for name in NAMES if (one := LaunchFolder(tmp_path / "sweep" / name).submission()) and one.job == "12"
    ]
    assert again == NAMES[3]
    (tmp_path / "queue").write_text("12_1|RUNNING|None|N/A\n12_2|RUNNING|None|N/A\n12|RUNNING|None|N/A\n")
    done = array(tmp_path, images)
    assert (done.returncode, len(stand_ins.called(calls, "sbatch"))) == (0, 2)
    assert "4 runs, 4 of them finished, running or queued" in done.stdout
    assert "50.00" in done.stdout


@pytest.mark.parametrize("flag", ["--dry-run", "--summary"])
def test_a_look_queues_and_writes_nothing(images: Path, tmp_path: Path, calls: Path, flag: str) -> None:
    done = array(tmp_path, images, flag)
    assert done.returncode == 0
    assert "lr=0.1,seed=0\n" in done.stdout if flag == "--dry-run" else "nothing has finished yet" in done.stdout
    assert not (tmp_path / "sweep").exists()
    assert stand_ins.called(calls, "sbatch") == []


@pytest.mark.parametrize(
    ("sweep", "flags", "expected", "times"),
    [
        (SWEEP, ["--nodes", "3"], "a --global-batch divisible by 3", 1),  # what all have in common is said once
        (SWEEP, ["--parallel", "0"], "--parallel: 0; must be at least 1", 1),
        (SWEEP + "  global_batch: [16, 17]\n", [], "lr=0.1,seed=0,global_batch=17: ", 1),
        (SWEEP.replace("seed", "sead"), [], "lr.yaml: lr=0.1,sead=0: sead: unknown; did you mean seed?", 1),
    ],
)
def test_every_run_is_checked_before_one_is_queued(
    images: Path, tmp_path: Path, calls: Path, sweep: str, flags: list[str], expected: str, times: int
) -> None:
    (tmp_path / "lr.yaml").write_text(sweep)
    done = array(tmp_path, images, *flags)
    assert done.returncode == 2
    assert done.stderr.count(expected) == times, done.stderr
    assert not (tmp_path / "sweep").exists()
    assert stand_ins.called(calls, "sbatch") == []


def test_a_refused_array_leaves_no_runs(images: Path, tmp_path: Path, calls: Path) -> None:
    words = "sbatch: error: Batch job submission failed: Invalid job array specification"
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/sh\necho '{words}' >&2; exit 1\n")
    done = array(tmp_path, images)
    assert done.returncode == 1
    assert f"Slurm refused the job: {words}\n  change the sweep" in done.stderr
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["launch"]
    assert stand_ins.called(calls, "sbatch") == []


def test_a_damaged_record_of_a_run_is_named(images: Path, tmp_path: Path, calls: Path) -> None:
    assert array(tmp_path, images).returncode == 0
    file = tmp_path / "sweep" / NAMES[1] / "launch" / "submission.json"
    file.write_text("{")
    done = array(tmp_path, images)
    assert done.returncode == 2
    assert f"{file}: cannot be read (" in done.stderr
    assert len(stand_ins.called(calls, "sbatch")) == 1

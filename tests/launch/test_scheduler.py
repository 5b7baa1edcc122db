"""Slurm's answers have the words and the form of a real cluster's, Slurm 22.05."""

import os
from pathlib import Path

import pytest

from launch import scheduler
from launch.scheduler import JobState, states

SQUEUE = """\
23823218|FAILED|NonZeroExitCode|1795293251
23823219|CANCELLED|BeginTime|1795293251
23823216|PENDING|BeginTime|1795296851
23823217_2|PENDING|JobArrayTaskLimit|N/A
23823220|PENDING|Resources|1826829251
23823215|RUNNING|None|1795293251|1795296851
23823217_0|RUNNING|None|1795293251|N/A
"""
SACCT = """\
11|FAILED|3:0
12|CANCELLED by 0|0:0
13|NODE_FAIL|1:0
14|TIMEOUT|0:0
15|OUT_OF_MEMORY|0:125
16|RUNNING|0:0
19|FAILED|0:9
17_1|COMPLETED|0:0
17_[2-3%2]|PENDING|0:0
"""


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> Path:
    """Stand-ins for Slurm's commands alone on PATH; each writes down how it was called."""
    folder.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{script}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin" if scripts else str(folder))
    return folder / "calls"


def answer(text: str) -> str:
    return f"cat <<'END'\n{text}END"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return commands(tmp_path / "bin", monkeypatch, squeue=answer(SQUEUE), sacct=answer(SACCT))


def test_what_squeue_knows_needs_no_accounting(slurm: Path) -> None:
    assert states(["23823215", "23823216", "23823217_0", "23823217_2", "23823218", "23823219", "23823220"]) == {
        "23823215": JobState("RUNNING", end=1795296851.0),
        "23823216": JobState("PENDING", "BeginTime", 1795296851.0),
        "23823217_0": JobState("RUNNING"),
        "23823217_2": JobState("PENDING", "JobArrayTaskLimit"),
        "23823218": JobState("FAILED", "NonZeroExitCode"),
        "23823219": JobState("CANCELLED"),
        "23823220": JobState("PENDING", "Resources", 1826829251.0),
    }
    assert slurm.read_text().count("squeue") == 1
    assert "sacct" not in slurm.read_text()


def test_accounting_tells_of_all_the_others_at_once(slurm: Path) -> None:
    assert states(["11", "12", "13", "14", "15", "16", "17_1", "17_2", "18", "19", "23823215"]) == {
        "11": JobState("FAILED", "exit code 3"),
        "12": JobState("CANCELLED", "by uid 0"),
        "13": JobState("NODE_FAIL"),
        "14": JobState("TIMEOUT"),
        "15": JobState("OUT_OF_MEMORY"),
        "16": JobState("GONE", "though accounting lists it as RUNNING"),
        "17_1": JobState("COMPLETED"),
        "17_2": JobState("GONE"),
        "18": JobState("GONE"),
        "19": JobState("FAILED", "signal 9"),
        "23823215": JobState("RUNNING", end=1795296851.0),
    }
    squeue, sacct = slurm.read_text().splitlines()
    assert squeue.endswith("--jobs=11,12,13,14,15,16,17_1,17_2,18,19,23823215")
    assert sacct.endswith("--jobs=11,12,13,14,15,16,17_1,17_2,18,19")


def test_one_job_that_squeue_does_not_know_is_no_failure_of_squeue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    commands(tmp_path / "bin", monkeypatch, squeue=refusal, sacct=answer(SACCT))
    assert states(["13"]) == {"13": JobState("NODE_FAIL")}


def test_a_cluster_without_accounting_still_says_that_a_job_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disabled = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
    commands(tmp_path / "bin", monkeypatch, squeue=answer(SQUEUE), sacct=disabled)
    assert states(["1", "23823215"]) == {
        "1": JobState("GONE", "sacct: Slurm accounting storage is disabled"),
        "23823215": JobState("RUNNING", end=1795296851.0),
    }


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            "squeue: slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        ),
        ("exit 3", "squeue: exit code 3"),
        ("exec sleep 30", "squeue gave no answer within 0.2 s"),
    ],
)
def test_a_controller_that_does_not_answer_leaves_the_state_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    commands(tmp_path / "bin", monkeypatch, squeue=script)
    if "sleep" in script:
        monkeypatch.setattr(scheduler, "TIMEOUT_S", 0.2)
    found = states(["1", "2"])
    assert found == {"1": JobState("UNKNOWN", reason), "2": JobState("UNKNOWN", reason)}
    assert not found["1"].is_known


def test_a_laptop_has_no_squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(tmp_path / "bin", monkeypatch)
    assert states(["1"]) == {"1": JobState("UNKNOWN", "squeue is not on this machine")}


def test_what_is_no_job_id_never_reaches_slurm(slurm: Path) -> None:
    assert states(["--help", "1;2", ""])["--help"] == JobState("UNKNOWN", "'--help' is no job id of Slurm's")
    assert not slurm.exists()


def test_a_user_s_own_filters_do_not_hide_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "mine")
    script = 'test -z "$SQUEUE_PARTITION" && test "$SLURM_TIME_FORMAT" = %s && echo "1|RUNNING|None|1"'
    commands(tmp_path / "bin", monkeypatch, squeue=script)
    assert states(["1"]) == {"1": JobState("RUNNING")}
    assert os.environ["SQUEUE_PARTITION"] == "mine"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("PENDING", "pending"), ("REQUEUED", "pending"), ("REQUEUE_HOLD", "pending"), ("SUSPENDED", "suspended"),
        ("RUNNING", "at work"), ("COMPLETING", "at work"), ("CONFIGURING", "at work"), ("NODE_FAIL", "over"),
        ("PREEMPTED", "over"), ("GONE", "over"), ("UNKNOWN", "over"),
    ],
)  # fmt: skip
def test_states_fall_into_few_kinds(state: str, expected: str) -> None:
    job = JobState(state)
    kinds = {"pending": job.is_pending, "suspended": job.is_suspended, "at work": job.is_at_work}
    assert next((kind for kind, holds in kinds.items() if holds), "over") == expected

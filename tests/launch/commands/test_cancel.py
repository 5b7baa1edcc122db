import json
import subprocess
from pathlib import Path

import pytest

from launch.cli import main
from launch.commands import cancel
from launch.submission import LaunchFolder, Submission
from tests import commands
from tests.launch import stand_ins


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = LaunchFolder(tmp_path / "my run")
    folder.make()
    request = {"grace_s": 120}
    folder.record(Submission(job="12", kind="slurm", time=0, log="/l", code="/c", commit="c", request=request, site={}))
    stand_ins.checkpoint(folder.run / "checkpoints", 1040)
    return folder.run


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, state: str, scancel: str) -> Path:
    """One whose job is in this state, until scancel removes the file `state`."""
    (folder / "state").write_text(f"12|{state}|None|N/A\n")
    squeue = (
        f"cat {folder}/state 2>/dev/null || {{ echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1; }}"
    )
    path, calls = stand_ins.slurm(folder / "bin", squeue=squeue, sacct="exit 1", scancel=f"cd {folder}\n{scancel}")
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(cancel, "_REPEAT_S", 0.05)
    monkeypatch.setattr(cancel, "_POLL_S", 0.01)
    return calls


def cancelled(run: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return commands.call(main, "cancel", run, *flags)


def test_a_waiting_job_is_taken_out_of_the_queue(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = cluster(tmp_path, monkeypatch, "PENDING", "rm state")
    done = cancelled(run)
    assert done.returncode == 0
    assert stand_ins.called(calls, "scancel") == ["12"]
    assert done.stdout == (
        "job 12 has ended; the newest checkpoint is of step 1,040\n"
        f"  go on with   provenet resume '{run}'\n"
    )  # fmt: skip
    assert LaunchFolder(run).is_cancelled("12")


def test_a_running_job_is_asked_until_it_has_saved(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is only starting has not heard the first signal; one that is being requeued meanwhile is let alone."""
    third_time = "echo x >> asked; test $(wc -l < asked) -lt 3 || rm state"
    calls = cluster(tmp_path, monkeypatch, "RUNNING", third_time)
    done = cancelled(run)
    assert done.returncode == 0
    assert stand_ins.called(calls, "scancel") == ["--signal=USR2 12"] * 3
    assert "job 12 saves and ends; Ctrl-C stops only the waiting" in done.stderr


def test_a_slurm_that_falls_silent_meanwhile_does_not_count_as_the_jobs_end(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fourth_time = "echo x >> asked; test $(wc -l < asked) -lt 4 || rm state"
    calls = cluster(tmp_path, monkeypatch, "RUNNING", fourth_time)
    squeue = tmp_path / "bin" / "squeue"
    silent = f"test $(cat {tmp_path}/asked | wc -l) = 2 && {{ echo 'Unable to contact slurm controller' >&2; exit 1; }}"
    squeue.write_text(squeue.read_text().replace("cat", f"{silent}\ncat", 1))
    (tmp_path / "asked").touch()
    assert cancelled(run).returncode == 0
    assert stand_ins.called(calls, "scancel") == ["--signal=USR2 12"] * 4


def test_a_job_is_marked_before_it_is_asked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could go back into the queue in between."""
    cluster(tmp_path, monkeypatch, "RUNNING", f"cp '{run}/launch/cancelled' mark; rm state")
    assert cancelled(run).returncode == 0
    assert (tmp_path / "mark").read_text() == "12\n"


def test_now_kills_a_running_job_without_a_checkpoint(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = cluster(tmp_path, monkeypatch, "RUNNING", "rm state")
    assert cancelled(run, "--now").returncode == 0
    assert stand_ins.called(calls, "scancel") == ["12"]


def test_a_job_that_does_not_end_in_time_is_named_with_the_mend(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = LaunchFolder(run)
    content = json.loads((folder.path / "submission.json").read_text())
    (folder.path / "submission.json").write_text(json.dumps(content | {"request": {"grace_s": 0.05}}))
    cluster(tmp_path, monkeypatch, "RUNNING", "exit 0")
    done = cancelled(run)
    assert done.returncode == 1
    assert "job 12 has not ended; kill it: add --now" in done.stderr


def test_a_job_that_has_ended_is_left_alone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = cluster(tmp_path, monkeypatch, "RUNNING", "exit 0")
    (tmp_path / "state").unlink()
    done = cancelled(run)
    assert (done.returncode, done.stdout) == (0, "job 12 has ended already\n")
    assert stand_ins.called(calls, "scancel") == []
    assert not LaunchFolder(run).cancelled.exists()


def test_a_silent_slurm_is_no_reason_to_believe_anything(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = cluster(tmp_path, monkeypatch, "RUNNING", "exit 0")
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    done = cancelled(run)
    assert done.returncode == 2
    assert "the state of job 12 is unknown: squeue: Unable to contact slurm controller" in done.stderr
    assert stand_ins.called(calls, "scancel") == []
    assert not LaunchFolder(run).cancelled.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "was never submitted: it holds no launch/submission.json"), ("{", "cannot be read (")],
)
def test_what_was_never_queued_cannot_be_cancelled(tmp_path: Path, content: str | None, expected: str) -> None:
    if content:
        (tmp_path / "launch").mkdir()
        (tmp_path / "launch" / "submission.json").write_text(content)
    done = cancelled(tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr


@pytest.mark.parametrize("verb", ["cancel", "logs", "resume"])
def test_a_file_in_place_of_a_run_is_bad_input(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.md"
    file.touch()
    assert main([verb, str(file)]) == 2
    assert f"RUN: {file}" in capsys.readouterr().err


def test_a_local_job_is_asked_by_a_signal(tmp_path: Path) -> None:
    """Its process is submitit's: others with the same number are not touched."""
    folder = LaunchFolder(tmp_path)
    folder.make()
    script = "trap 'echo asked; exit' TERM; echo ready; while :; do sleep 0.05; done"
    for zero, expected in (("submitit-stand-in", "asked\n"), ("another", "")):
        with subprocess.Popen(["bash", "-c", script, zero], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stdout.readline() == "ready\n"
            folder.record(
                Submission(job=str(process.pid), kind="local", time=0, log="", code="", commit="", request={}, site={})
            )
            done = cancelled(tmp_path)
            assert done.returncode == 0
            assert ("has ended already" in done.stdout) == (expected == "")
            process.kill()
            assert process.stdout.read() == expected

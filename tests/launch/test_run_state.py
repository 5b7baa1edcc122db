import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launch import attempts
from launch.attempts import Attempt, End, Then
from launch.run_state import RunState, Snapshot, State, local_state, read, settled, state_of
from launch.scheduler import JobState
from launch.submission import DamagedRecordError, Kind, LaunchFolder, Submission
from trainer.checkpoint import holder_file
from trainer.checkpoint.holder_file import Holder
from trainer.rundir import RunDirectory

RESUME = "provenet resume 'my run'"
ELSEWHERE = replace(holder_file.ourselves(), machine="another boot", host="n7", since="today")
GONE_HERE = replace(holder_file.ourselves(), started="long ago")


def submission(job: str = "12", kind: Kind = "slurm") -> Submission:
    return Submission(job=job, kind=kind, time=0, log="/l", code="/c", commit="c", request={}, site={})


def attempt(number: int = 1, then: Then | None = None, *, job: str = "12", nodes: str = "n[1-2]") -> Attempt:
    end = End(code=75, step=40, then=then, why=f"the reason of {number}", time=0) if then else None
    return Attempt(number=number, job=job, restart=0, nodes=nodes, step=0, time=0, end=end)


def evidence(
    *tries: Attempt,
    queued: Submission | None = None,
    cancelled: bool = False,
    holder: Holder | None = None,
    touched_s: float = 5,
) -> Snapshot:
    return Snapshot(
        path=Path("my run"),
        finished=False,
        submission=queued,
        attempts=list(tries),
        is_cancelled=cancelled,
        holder=holder,
        touched_s=touched_s,
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (evidence(), RunState("not running")),
        (evidence(holder=GONE_HERE), RunState("not running", f"{GONE_HERE} is gone; the same command goes on")),
        (evidence(holder=ELSEWHERE), RunState("running", "on n7, since today")),
        (
            evidence(holder=ELSEWHERE, touched_s=300),
            RunState("not running", f"{ELSEWHERE} was last seen 5 min ago; the same command goes on"),
        ),
        (evidence(attempt(1, "stopped"), queued=submission()), RunState("stopped", "the reason of 1")),
        (evidence(attempt(1, "cancelled"), queued=submission()), RunState("cancelled", f"the reason of 1; {RESUME}")),
        (evidence(attempt(1, "stopped", job="11"), queued=submission()), None),  # submitted again since
        (evidence(attempt(1, "again"), queued=submission()), None),
        (evidence(attempt(1), queued=submission()), None),
    ],
)
def test_some_runs_stand_as_they_do_whatever_slurm_says(seen: Snapshot, expected: RunState | None) -> None:
    assert settled(seen) == expected


def test_a_process_that_trains_here_is_seen() -> None:
    ours = holder_file.ourselves()
    found = settled(evidence(holder=ours, touched_s=1e6))
    assert found == RunState("running", f"process {os.getpid()} on this machine, since {ours.since}")


@pytest.mark.parametrize(
    ("seen", "job", "state", "note"),
    [
        (evidence(), JobState("PENDING", "Resources"), "queued", "Resources"),
        (evidence(attempt(1, "again")), JobState("PENDING", "BeginTime"), "waiting", "the reason of 1; BeginTime"),
        (evidence(attempt(1)), JobState("PENDING", "Priority"), "waiting", "n[1-2] lost; Priority"),
        (evidence(attempt(1, job="11")), JobState("PENDING"), "queued", ""),
        (evidence(cancelled=True), JobState("PENDING"), "cancelling", ""),
        (evidence(), JobState("RUNNING"), "running", "starting"),
        (evidence(attempt(1)), JobState("RUNNING"), "running", "on n[1-2]"),
        (evidence(attempt(1, "again")), JobState("COMPLETING"), "running", "the reason of 1"),
        (evidence(attempt(1), cancelled=True), JobState("RUNNING"), "cancelling", "on n[1-2]"),
        (evidence(attempt(1)), JobState("SUSPENDED"), "suspended", "SUSPENDED"),
        (evidence(cancelled=True), JobState("GONE"), "cancelled", RESUME),
        (evidence(cancelled=True), JobState("UNKNOWN", "no squeue"), "cancelled", RESUME),
        (evidence(), JobState("CANCELLED", "by uid 0"), "cancelled", f"by uid 0; {RESUME}"),
        (evidence(attempt(1)), JobState("NODE_FAIL"), "lost", f"job 12 is gone (NODE_FAIL); {RESUME}"),
        (evidence(attempt(1)), JobState("FAILED", "signal 9"), "lost", f"job 12 is gone (FAILED, signal 9); {RESUME}"),
        (evidence(attempt(1)), JobState("GONE"), "lost", f"job 12 is gone; {RESUME}"),
        (evidence(attempt(1)), JobState("GONE", "sacct: no"), "lost", f"job 12 is gone (sacct: no); {RESUME}"),
        (evidence(attempt(1)), JobState("UNKNOWN", "no squeue"), "unknown", "no squeue"),
        (evidence(holder=ELSEWHERE), JobState("UNKNOWN", "no squeue"), "running", "on n7, since today"),
        (evidence(holder=ELSEWHERE, touched_s=61), JobState("UNKNOWN", "no squeue"), "unknown", "no squeue"),
    ],
)  # fmt: skip
def test_the_job_s_state_and_the_attempts_tell_the_rest(seen: Snapshot, job: JobState, state: State, note: str) -> None:
    assert state_of(replace(seen, submission=submission()), job) == RunState(state, note)


def test_a_waiting_job_says_when_it_is_expected_to_start() -> None:
    noon = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    found = state_of(evidence(queued=submission()), JobState("PENDING", "Resources", noon))
    assert found.note == "Resources; starts about 21 Nov 12:00"


@pytest.fixture
def controller() -> Iterator[str]:
    """A process with submitit's name in its command."""
    with subprocess.Popen([sys.executable, "-c", "input()", "submitit"], stdin=subprocess.PIPE) as process:
        yield str(process.pid)
        process.kill()


def test_a_local_job_is_its_process(controller: str) -> None:
    seen = evidence(queued=submission(controller, "local"))
    while local_state(seen) != JobState("RUNNING"):  # it has just been forked
        time.sleep(0.01)
    assert local_state(evidence(queued=submission(str(os.getppid()), "local"))) == JobState("GONE")  # another program
    assert local_state(evidence(queued=submission("x", "local"))) == JobState("GONE")
    lost = state_of(evidence(queued=submission("77", "local")), JobState("GONE"))
    assert lost == RunState("lost", f"process 77 is gone; {RESUME}")


def test_a_full_disk_is_named_where_the_end_of_a_job_is_missing() -> None:
    seen = replace(evidence(queued=submission()), disk_is_full=True)
    assert state_of(seen, JobState("FAILED")).note == f"job 12 is gone (FAILED); its disk is full; {RESUME}"


def test_a_local_job_of_another_machine_cannot_be_seen() -> None:
    seen = evidence(attempt(nodes="elsewhere"), queued=submission(kind="local"))
    assert local_state(seen) == JobState("UNKNOWN", "a job of the machine elsewhere; ask there")
    here = evidence(attempt(nodes=socket.gethostname()), queued=submission("1", kind="local"))
    assert local_state(here).is_known


def test_a_run_directory_shows_who_runs_it(tmp_path: Path) -> None:
    run, folder = RunDirectory(tmp_path), LaunchFolder(tmp_path)
    assert settled(read(run)) == RunState("not running")
    folder.make()
    folder.record(submission())
    folder.cancel("12")
    begun = attempts.begin(folder.attempts, job="12", restart=0, nodes="n1", step=0)
    descriptor = holder_file.open_file(run.holder)
    holder_file.write(descriptor, ELSEWHERE)
    os.close(descriptor)
    seen = read(run)
    assert (seen.submission, seen.last, seen.holder, seen.is_cancelled) == (submission(), begun, ELSEWHERE, True)
    assert seen.touched_s < 60
    run.result.write_text('{"top1": 50}')
    assert settled(read(run)) == RunState("finished")


@pytest.mark.parametrize("change", [{"job": 12}, {"log": None}, {"kind": "x"}, {"schema": 9}])
def test_a_damaged_submission_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    folder = LaunchFolder(tmp_path)
    folder.make()
    folder.record(submission())
    file = folder.path / "submission.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DamagedRecordError, match=r"submission.json: .* remove it and submit again"):
        read(RunDirectory(tmp_path))


def test_a_field_that_a_later_version_added_to_a_submission_is_passed_over(tmp_path: Path) -> None:
    folder = LaunchFolder(tmp_path)
    folder.make()
    folder.record(submission())
    file = folder.path / "submission.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"more": 1}))
    assert read(RunDirectory(tmp_path)).submission == submission()

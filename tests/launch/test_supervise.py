"""Real processes of `supervise`, with stand-ins for srun and scontrol."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from launch import attempts
from launch.attempts import Attempt, End
from launch.submission import LaunchFolder
from launch.supervise import allocation_of
from tests.launch import stand_ins
from tests.limits import full_disk
from trainer.rundir import RunDirectory

# with a controller that is asked once, not for a minute
PROGRAM = """
import sys
from pathlib import Path
from launch import supervise
from launch.job import TrainJob
from launch.site import ClusterConfig
from trainer.recipe.config import SiteConfig
supervise._REQUEUE_S = 0
cluster = ClusterConfig(retries=3, cluster=sys.argv[2])
site = SiteConfig(data=Path("it's"), output=Path(sys.argv[1]))
job = TrainJob(site=site, cluster=cluster, code=Path("code.zip"))
sys.exit(supervise.supervise(site.output, job.command(), job.cluster))
"""
BATCH = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]"}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job's own process, as it ended."""

    code: int
    said: str
    history: list[Attempt]
    calls: Path

    @property
    def ends(self) -> list[tuple[int, int, str] | None]:
        """Code, step and what followed, of each attempt."""
        return [one.end and (one.end.code, one.end.step, one.end.then) for one in self.history]

    @property
    def why(self) -> str:
        """Of the last attempt."""
        assert self.history[-1].end
        return self.history[-1].end.why

    @property
    def starts(self) -> int:
        return len(stand_ins.called(self.calls, "srun"))

    @property
    def requeues(self) -> list[str]:
        return stand_ins.called(self.calls, "scontrol")


Supervised = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a run"
    RunDirectory(folder).checkpoints.mkdir(parents=True)
    LaunchFolder(folder).make()
    return folder


@pytest.fixture
def supervised(tmp_path: Path, run: Path) -> Supervised:
    def start(
        srun: str,
        scontrol: str = "exit 0",
        *,
        cluster: str = "slurm",
        variables: Mapping[str, str] = BATCH,
        sbatch: str = "exit 0",
        squeue: str = "exit 1",
    ) -> Ended:
        path, calls = stand_ins.slurm(tmp_path / "bin", srun=srun, scontrol=scontrol, sbatch=sbatch, squeue=squeue)
        if not scontrol:
            (tmp_path / "bin" / "scontrol").unlink()
            path = str(tmp_path / "bin")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(run), cluster],
            env={**os.environ, **variables, "PATH": path, "RUN": str(run), "BIN": str(tmp_path / "bin")},
            capture_output=True,
            text=True,
        )
        history = attempts.read(LaunchFolder(run).attempts)
        return Ended(code=done.returncode, said=done.stderr, history=history, calls=calls)

    return start


def began(run: Path, step: int, code: int | None, job: str = "12") -> None:
    """An earlier attempt; without a code its node was lost."""
    file = LaunchFolder(run).attempts
    attempt = attempts.begin(file, job=job, restart=0, nodes="n9", step=step)
    if code is not None:
        attempts.end(file, attempt, End(code=code, step=step, then="again", why="", time=0))


def progress(tmp_path: Path) -> str:
    """For srun: at each start the next of these checkpoints comes to stand."""
    for step in (40, 80):
        stand_ins.checkpoint(tmp_path / "ready", step)
    return f'next=$(ls {tmp_path}/ready | head -n 1); test -z "$next" || mv {tmp_path}/ready/$next "$RUN/checkpoints/"'


def test_a_run_that_finishes_is_done(supervised: Supervised) -> None:
    done = supervised("exit 0")
    assert (done.code, done.ends, done.requeues) == (0, [(0, 0, "done")], [])
    (attempt,) = done.history
    assert (attempt.number, attempt.job, attempt.restart, attempt.nodes) == (1, "12", 0, "n[1-2]")
    assert done.said.splitlines() == [
        "launch: attempt 1 of job 12 on n[1-2], from step 0",
        "launch: attempt 1: finished",
    ]


def test_a_run_that_stopped_in_good_order_goes_back_into_the_queue(supervised: Supervised, tmp_path: Path) -> None:
    done = supervised(f"{progress(tmp_path)}; exit 75", variables={**BATCH, "SLURM_RESTART_COUNT": "2"})
    assert (done.code, done.requeues, done.starts) == (75, ["requeue 12"], 1)
    assert (done.ends, done.why) == ([(75, 40, "again")], "stopped cleanly; goes on from step 40")
    assert done.history[0].restart == 2


def test_processes_that_died_with_their_node_did_not_stop_cleanly(supervised: Supervised) -> None:
    done = supervised("printf begun > $PROVENET_EXIT_CODE; kill -TERM $PPID; sleep 60")
    assert (done.ends, done.why) == ([(75, 0, "again")], "killed before it stopped cleanly; goes on from step 0")


def test_an_array_s_task_keeps_its_name_and_is_requeued_by_its_own_id(supervised: Supervised) -> None:
    array = {**BATCH, "SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    done = supervised("exit 75", variables=array)
    assert (done.history[0].job, done.requeues) == ("12_3", ["requeue 15"])


def test_a_job_that_slurm_requeued_by_itself_needs_no_other_word(supervised: Supervised) -> None:
    done = supervised("exit 75", "echo 'Job is pending execution for job 12' >&2; exit 1")
    assert (done.code, done.ends) == (75, [(75, 0, "again")])


@pytest.mark.parametrize(
    ("scontrol", "reason"),
    [
        ("echo 'Access/permission denied for job 12' >&2; exit 1", "Access/permission denied for job 12"),
        ("", "scontrol: No such file or directory"),
    ],
)
def test_a_job_that_slurm_does_not_take_back_is_stopped_with_the_mend(
    supervised: Supervised, run: Path, scontrol: str, reason: str
) -> None:
    done = supervised("exit 75", scontrol)
    assert (done.code, done.ends) == (1, [(75, 0, "stopped")])
    why = f"Slurm did not requeue the job ({reason}); continue with: provenet resume"
    assert done.why == f"{why} {shlex.quote(str(run))}"


def test_a_crash_after_progress_is_started_again_at_once(supervised: Supervised, tmp_path: Path) -> None:
    """Twice it gets further, then it ends well."""
    done = supervised(f'{progress(tmp_path)}; test -z "$next" && exit 0; exit 70')
    assert (done.code, done.starts, done.requeues) == (0, 3, [])
    assert done.ends == [(70, 40, "again"), (70, 80, "again"), (0, 80, "done")]
    assert [attempt.step for attempt in done.history] == [0, 40, 80]


FAULTY = (
    'echo "{\\"kind\\": \\"start\\", \\"time\\": $(date +%s.%N), \\"gpu_faults\\": {\\"$NODE\\": \\"GPU 1: hot\\"}}" '
    '>>"$RUN/metrics.jsonl"'
)


def test_a_node_with_a_faulty_gpu_is_excluded_at_the_next_start(supervised: Supervised, tmp_path: Path) -> None:
    """A crash after progress, which would start again on the same nodes; and another node at the next attempt."""
    first = supervised(f"{FAULTY}; {progress(tmp_path)}; exit 70", variables={**BATCH, "NODE": "n2"})
    assert (first.code, first.ends, first.starts) == (75, [(70, 40, "again")], 1)
    assert first.requeues == ["requeue 12", "update jobid=12 ExcNodeList=n2"]
    asked = "--test-only --nodes=1 --ntasks-per-node=1 --cpus-per-task=1 --exclude=n2 --wrap=:"
    assert stand_ins.called(first.calls, "sbatch") == [asked]
    assert attempts.excluded(first.history, "12") == {"n2": "GPU 1: hot"}

    again = supervised(f"{FAULTY}; exit 75", variables={**BATCH, "NODE": "n7"})
    assert again.requeues[2:] == ["requeue 12", "update jobid=12 ExcNodeList=n2,n7"]
    assert attempts.excluded(again.history, "12") == {"n2": "GPU 1: hot", "n7": "GPU 1: hot"}
    assert attempts.excluded(again.history, "13") == {}

    sound = supervised("exit 75")  # a start before its record was written
    assert sound.requeues[4:] == ["requeue 12"]


def test_a_node_that_the_job_needs_is_not_excluded(supervised: Supervised) -> None:
    few = "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1"
    done = supervised(f"{FAULTY}; exit 75", sbatch=few, variables={**BATCH, "NODE": "n2"})
    assert (done.code, done.requeues) == (75, ["requeue 12"])
    assert "n2 not excluded, in spite of faulty GPUs: allocation failure: Requested node" in done.said


def test_a_crash_without_progress_goes_through_the_queue(supervised: Supervised) -> None:
    done = supervised("kill -KILL $$")
    assert (done.code, done.requeues, done.starts) == (75, ["requeue 12"], 1)
    assert done.why == "killed by signal 9; goes on from step 0"


def test_a_crash_shortly_before_the_time_limit_goes_through_the_queue(supervised: Supervised, tmp_path: Path) -> None:
    soon = str(int(time.time()) + 60)  # twice the grace is 240 s
    done = supervised(f"{progress(tmp_path)}; exit 70", variables={**BATCH, "SLURM_JOB_END_TIME": soon})
    assert (done.starts, done.requeues) == (1, ["requeue 12"])


def test_a_slurm_that_tells_a_batch_job_no_time_limit_is_asked(supervised: Supervised, tmp_path: Path) -> None:
    """As Debian's, 22.05.8; the limit is near."""
    squeue = f"echo '12|RUNNING|None|1|'{int(time.time()) + 60}"
    done = supervised(f"{progress(tmp_path)}; exit 70", squeue=squeue)
    assert (done.starts, done.requeues) == (1, ["requeue 12"])


def test_ranks_that_were_aborted_without_a_word_after_they_began_start_again(supervised: Supervised) -> None:
    done = supervised("printf begun > $PROVENET_EXIT_CODE; exit 1")
    assert (done.code, done.requeues) == (75, ["requeue 12"])
    assert done.why == "aborted; goes on from step 0"


@pytest.mark.parametrize(("code", "words"), [(1, "would fail again (exit code 1)"), (2, "cannot start (exit code 2)")])
def test_what_no_start_mends_is_not_started_again(supervised: Supervised, code: int, words: str) -> None:
    done = supervised(f"exit {code}")
    assert (done.code, done.ends, done.requeues) == (code, [(code, 0, "stopped")], [])
    assert words in done.why


def test_the_trainer_s_last_words_are_the_reason_that_status_shows(supervised: Supervised) -> None:
    words = "failed: runs/a/metrics.jsonl: No space left on device"
    trainer = (
        f"from trainer.exits import record, say; say({words + chr(10) + '  more'!r}, 1); record(1); raise SystemExit(1)"
    )
    done = supervised(f"{shlex.quote(sys.executable)} -c {shlex.quote(trainer)}")
    assert (done.ends, done.requeues) == ([(1, 0, "stopped")], [])
    assert done.why == f"it failed, and would fail again (exit code 1): {words}"


def test_a_disk_that_does_not_take_the_end_of_an_attempt_ends_the_job_with_the_file_s_name(
    supervised: Supervised, run: Path
) -> None:
    LaunchFolder(run).attempts.write_text("\n" * 4_000)
    with full_disk(4_100):
        done = supervised("exit 75")
    assert (done.code, done.requeues) == (1, [])
    assert done.said.splitlines()[-1] == f"launch: failed: {LaunchFolder(run).attempts}: File too large"


@pytest.mark.parametrize(
    ("codes", "starts", "ends"),
    [
        ([70, 137], 1, "aborted, killed by signal 9, aborted"),
        ([None, 137], 1, "lost, killed by signal 9, aborted"),
        ([None, None, None], 0, "lost, lost, lost"),
    ],
)
def test_too_many_attempts_without_progress_stop_the_run_and_say_why(
    supervised: Supervised, run: Path, codes: list[int | None], starts: int, ends: str
) -> None:
    stand_ins.checkpoint(run / "checkpoints", 40)
    for code in codes:
        began(run, 40, code)
    done = supervised("exit 70")
    assert (done.code, done.starts, done.requeues) == (70, starts, [])
    assert done.ends[-1] == (70, 40, "stopped")
    assert done.why.startswith(f"3 attempts in a row began at step 40 and none wrote a newer checkpoint ({ends})")


def test_attempts_of_an_earlier_job_do_not_count(supervised: Supervised, run: Path) -> None:
    for _ in range(3):
        began(run, 0, 70, job="11")
    assert supervised("exit 70").requeues == ["requeue 12"]


@pytest.mark.parametrize("lost", [0, 3])
def test_a_cancelled_job_is_neither_started_nor_requeued(supervised: Supervised, run: Path, lost: int) -> None:
    for _ in range(lost):
        began(run, 0, None)
    LaunchFolder(run).cancel("12")
    done = supervised("exit 0")
    assert (done.code, done.starts, done.requeues) == (75, 0, [])
    assert done.history[-1].end and done.history[-1].end.then == "cancelled"
    assert done.why == "cancelled at step 0"


def test_a_job_that_is_cancelled_while_it_runs_is_not_requeued(supervised: Supervised) -> None:
    done = supervised('echo 12 > "$RUN/launch/cancelled"; exit 75')
    assert (done.code, done.ends, done.requeues) == (75, [(75, 0, "cancelled")], [])


def test_the_mark_of_an_earlier_job_cancels_no_other(supervised: Supervised, run: Path) -> None:
    LaunchFolder(run).cancel("11")
    assert supervised("exit 0").code == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]"}, ("12", 0, "n[1-2]", None)),
        ({"SLURM_JOB_ID": "12", "SLURM_RESTART_COUNT": "3", "SLURM_JOB_END_TIME": "99"}, ("12", 3, None, 99.0)),
        ({"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "0"}, ("12_0", 0, None, None)),
        ({"SLURM_JOB_ID": "12", "SLURM_JOB_END_TIME": "Unknown"}, ("12", 0, None, None)),
        ({"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "4711"}, ("4711", 0, None, None)),
        (  # in an allocation of Slurm's
            {
                **{"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "4711", "SLURM_JOB_ID": "12"},
                **{"SLURM_JOB_NODELIST": "n1", "SLURM_RESTART_COUNT": "3", "SLURM_JOB_END_TIME": "99"},
            },
            ("4711", 0, None, None),
        ),
        ({}, (str(os.getpid()), 0, None, None)),
    ],
)
def test_a_job_knows_its_place(
    environment: dict[str, str], expected: tuple[str, int, str | None, float | None]
) -> None:
    place = allocation_of(environment)
    job, restart, nodes, end_time = expected
    assert (place.job, place.restart, place.nodes) == (job, restart, nodes or os.uname().nodename)
    assert place.end_time == end_time

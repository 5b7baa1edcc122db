"""A job's own process: starts the run's processes, and decides what follows when they end. Standard library only.

On Slurm it is the batch script's, on the first node; `srun` starts the ranks, and Slurm's signals go to these directly.
A run that was aborted after a newer checkpoint is started again at once, on the same nodes; otherwise the job goes back
into the queue, for other nodes perhaps.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launch import attempts, scheduler
from launch.attempts import Attempt, End
from launch.launcher import Ended, run
from launch.site import ClusterConfig
from launch.submission import LaunchFolder
from trainer.exits import ABORTED, FAILED
from trainer.rundir import RunDirectory
from trainer.stopping import START_AGAIN
from trainer.terminal import remark

_REQUEUE_S = 60  # a controller that does not answer is asked again so long
_ALREADY = "pending execution"  # what Slurm says of a job that it has put back into the queue by itself


@dataclass(frozen=True, slots=True)
class Place:
    """Which job this is, and where."""

    job: str
    """Slurm's job id, that of an array's task as `12_3`, or the process id of a local job."""
    restart: int
    """How often Slurm has started it again."""
    nodes: str
    """Slurm's list of nodes, or this host."""
    end_time: float | None
    """When Slurm ends it, seconds since 1970, if it says so."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be taken to its end."""

    run: Path
    command: tuple[str, ...]
    cluster: ClusterConfig


def take_signals() -> None:
    """Let signals do what they do by themselves: submitit requeues a run at USR2, and takes no notice of TERM."""
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, signal.SIG_DFL)


def supervise(run: Path, command: tuple[str, ...], cluster: ClusterConfig) -> int:
    """Take a run as far as this job can.

    Args:
        run: Run directory.
        command: What starts the processes.
        cluster: What was asked of the cluster.

    Returns:
        0 where the run is finished, `START_AGAIN` where it goes on in another job or was cancelled, else its own code.
    """
    job, place = _Job(run, command, cluster), place_of(os.environ)
    while True:
        begun, end = _attempt(job, place)
        if end.then != "again":
            return START_AGAIN if end.then == "cancelled" else end.code
        if not _has_its_nodes(job, place):
            return START_AGAIN  # Slurm puts the job back into the queue itself, or the user has cancelled it
        if not _goes_on_here(job, place, end, progress=end.step > begun.step):
            return _requeue(job, begun, end)


def place_of(environment: Mapping[str, str]) -> Place:
    """Where this job is, by Slurm's or submitit's word."""
    if environment.get("SUBMITIT_EXECUTOR") == "local":  # in an allocation of Slurm's, perhaps
        return Place(environment["SUBMITIT_LOCAL_JOB_ID"], 0, socket.gethostname(), None)
    end = environment.get("SLURM_JOB_END_TIME", "")
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    own = environment.get("SLURM_JOB_ID") or str(os.getpid())
    return Place(
        job=f"{array}_{task}" if array else own,
        restart=int(environment.get("SLURM_RESTART_COUNT", "0")),
        nodes=environment.get("SLURM_JOB_NODELIST") or socket.gethostname(),
        end_time=float(end) if end.isdigit() else None,
    )


def _attempt(job: _Job, place: Place) -> tuple[Attempt, End]:
    """Start the processes once and wait for their end."""
    folder, checkpoints = LaunchFolder(job.run), RunDirectory(job.run).checkpoints
    before = attempts.newest_step(checkpoints)
    attempt = attempts.begin(folder.attempts, job=place.job, restart=place.restart, nodes=place.nodes, step=before)
    remark(f"attempt {attempt.number} of job {place.job} on {place.nodes}, from step {before}")
    hopeless = _hopeless(job, place, folder, attempt)
    ended = Ended(ABORTED, asked=False) if hopeless else _run(job, place, folder)
    # on a node that was cut off, another attempt may have begun meanwhile
    history = [one for one in attempts.read(folder.attempts) if one.number <= attempt.number]
    step = attempts.newest_step(checkpoints)
    cancelled = folder.is_cancelled(place.job)
    then, why = attempts.verdict(ended.code, history, step, job.cluster.retries, cancelled=cancelled)
    if hopeless and then != "cancelled":
        then, why = "stopped", hopeless
    if then == "again" and ended.asked and job.cluster.cluster == "local":
        then, why = "stopped", f"a signal asked for the end, at step {step:,}"
    end = End(code=ended.code, step=step, then=then, why=why, time=time.time())
    attempts.end(folder.attempts, attempt, end)
    remark(f"attempt {attempt.number}: {why}")
    return attempt, end


def _hopeless(job: _Job, place: Place, folder: LaunchFolder, attempt: Attempt) -> str | None:
    """Why earlier attempts speak against another: lost nodes left nobody to say so."""
    earlier = [one for one in attempts.read(folder.attempts) if one.number < attempt.number and one.job == place.job]
    return attempts.stuck(earlier, attempt.step, job.cluster.retries)


def _run(job: _Job, place: Place, folder: LaunchFolder) -> Ended:
    """Run the processes, unless nobody wants them any more."""
    if folder.is_cancelled(place.job):
        return Ended(START_AGAIN, asked=False)
    return run(job.command, job.cluster.grace_s)


def _has_its_nodes(job: _Job, place: Place) -> bool:
    """Whether Slurm lets this job run on; `scontrol requeue` would bring a cancelled one back to life."""
    if job.cluster.cluster == "local":
        return True
    state = scheduler.states([place.job])[place.job]
    return state.state == "RUNNING" or not state.is_known


def _goes_on_here(job: _Job, place: Place, end: End, *, progress: bool) -> bool:
    """Whether to start the processes again at once rather than through the queue."""
    if job.cluster.cluster == "local":
        return True
    time_left = place.end_time is None or place.end_time - time.time() > 2 * job.cluster.grace_s
    return end.code != START_AGAIN and progress and time_left


def _requeue(job: _Job, begun: Attempt, end: End) -> int:
    """Put this job back into the queue, from where it keeps its id."""
    id_ = os.environ["SLURM_JOB_ID"]
    deadline = time.monotonic() + _REQUEUE_S
    while True:
        try:
            done = subprocess.run(["scontrol", "requeue", id_], capture_output=True, text=True, check=False)
        except OSError as error:
            return _left(job, begun, end, f"scontrol: {error.strerror}")
        if done.returncode == 0 or _ALREADY in done.stderr:
            return START_AGAIN
        if time.monotonic() > deadline:
            return _left(job, begun, end, done.stderr.strip())
        time.sleep(2)


def _left(job: _Job, begun: Attempt, end: End, reason: str) -> int:
    """Say that Slurm does not take the job back."""
    folder = LaunchFolder(job.run)
    why = f"Slurm did not put the job back into the queue ({reason}); go on by: {folder.resume}"
    attempts.end(folder.attempts, begun, replace(end, then="stopped", why=why))
    remark(why)
    return FAILED

"""The main process of a job: starts the run's processes, and decides what follows their end. Standard library only.

On Slurm the batch script runs it on the first node; `srun` starts the ranks, and Slurm's signals go to them directly.
A run that was aborted after a newer checkpoint is started again at once, on the same nodes; otherwise the job is
requeued, and may get other nodes.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launch import attempts, exclusion, scheduler
from launch.attempts import Attempt, End
from launch.launcher import Ended, end_with_parent, run
from launch.scheduler import JobState
from launch.site import ClusterConfig
from launch.submission import LaunchFolder
from trainer.exits import ABORTED, FAILED, say
from trainer.rundir import RunDirectory
from trainer.stopping import START_AGAIN
from trainer.terminal import remark

_REQUEUE_S = 60  # for so long, a controller that does not answer is asked again
_ALREADY = "pending execution"  # in Slurm's message about a job that it has requeued by itself


@dataclass(frozen=True, slots=True)
class Allocation:
    """The job that this process belongs to, and its nodes."""

    job: str
    """Slurm's job id, that of an array's task as `12_3`, or the process id of a local job."""
    restart: int
    """How often Slurm has restarted it."""
    nodes: str
    """Slurm's list of nodes, or this host."""
    end_time: float | None
    """When Slurm ends it, seconds since 1970; None: unknown."""


@dataclass(frozen=True, slots=True)
class _Job:
    """The arguments of `supervise`."""

    run: Path
    command: tuple[str, ...]
    cluster: ClusterConfig


def supervise(run: Path, command: tuple[str, ...], cluster: ClusterConfig) -> int:
    """Train a run as far as this job can.

    Args:
        run: Run directory.
        command: Starts the processes.
        cluster: The job's settings.

    Returns:
        0 if the run is finished, `START_AGAIN` if it goes on in another job or was cancelled, else its exit code.
    """
    if cluster.cluster == "local":
        end_with_parent()  # by which `status` and `cancel` know the job
    job, allocation = _Job(run, command, cluster), allocation_of(os.environ)
    while True:
        try:
            begun, end = _attempt(job, allocation)
        except OSError as error:  # of the run's disk, on which an attempt is not recorded
            file = error.filename or LaunchFolder(run).attempts
            return say(f"launch: failed: {file}: {error.strerror}", FAILED)
        if end.then != "again":
            return START_AGAIN if end.then == "cancelled" else end.code
        state = _state(job, allocation)
        if state and state.is_known and state.state != "RUNNING":  # `scontrol requeue` would revive a cancelled one
            return START_AGAIN  # Slurm requeues the job itself, or the user has cancelled it
        if state and not allocation.end_time:  # 22.05 tells it to no batch job
            allocation = replace(allocation, end_time=state.end)
        before = attempts.excluded(attempts.read(LaunchFolder(run).attempts), begun.job)
        faulty = exclusion.faulty(RunDirectory(run), begun, cluster, before)
        if faulty or not _goes_on_here(job, allocation, end, progress=end.step > begun.step):
            return _requeue(job, begun, end, {**before, **faulty} if faulty else {})


def allocation_of(environment: Mapping[str, str]) -> Allocation:
    """This process's job, from the variables of Slurm or submitit."""
    if environment.get("SUBMITIT_EXECUTOR") == "local":  # even within a job of Slurm
        return Allocation(environment["SUBMITIT_LOCAL_JOB_ID"], 0, socket.gethostname(), None)
    end = environment.get("SLURM_JOB_END_TIME", "")
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    own = environment.get("SLURM_JOB_ID") or str(os.getpid())
    return Allocation(
        job=f"{array}_{task}" if array else own,
        restart=int(environment.get("SLURM_RESTART_COUNT", "0")),
        nodes=environment.get("SLURM_JOB_NODELIST") or socket.gethostname(),
        end_time=float(end) if end.isdigit() else None,
    )


def _attempt(job: _Job, allocation: Allocation) -> tuple[Attempt, End]:
    """Start the processes once, wait for their end, and record both."""
    folder, checkpoints = LaunchFolder(job.run), RunDirectory(job.run).checkpoints
    before = attempts.newest_step(checkpoints)
    job_id, nodes = allocation.job, allocation.nodes
    attempt = attempts.begin(folder.attempts, job=job_id, restart=allocation.restart, nodes=nodes, step=before)
    remark(f"attempt {attempt.number} of job {job_id} on {nodes}, from step {before}")
    # attempts that lost their nodes could not stop the job themselves
    earlier = [one for one in attempts.read(folder.attempts) if one.number < attempt.number and one.job == attempt.job]
    reason = attempts.stuck(earlier, attempt.step, job.cluster.retries)
    if reason or folder.is_cancelled(job_id):
        ended = Ended(ABORTED if reason else START_AGAIN, asked=False)
    else:
        ended = run(job.command, job.cluster.grace_s)
    # if this node had lost its network, another attempt may have begun meanwhile
    history = [one for one in attempts.read(folder.attempts) if one.number <= attempt.number]
    step = attempts.newest_step(checkpoints)
    cancelled = folder.is_cancelled(job_id)
    then, why = attempts.verdict(ended.code, history, step, job.cluster.retries, cancelled=cancelled, said=ended.why)
    if reason and then != "cancelled":
        then, why = "stopped", reason
    if then == "again" and ended.asked and job.cluster.cluster == "local":
        then, why = "stopped", f"a signal ended it at step {step:,}"
    end = End(code=ended.code, step=step, then=then, why=why, time=time.time())
    attempts.end(folder.attempts, attempt, end)
    remark(f"attempt {attempt.number}: {why}")
    return attempt, end


def _state(job: _Job, allocation: Allocation) -> JobState | None:
    """What Slurm says of this job; None without a scheduler."""
    return None if job.cluster.cluster == "local" else scheduler.states([allocation.job])[allocation.job]


def _goes_on_here(job: _Job, allocation: Allocation, end: End, *, progress: bool) -> bool:
    """Whether to start the processes again at once instead of requeueing the job."""
    if job.cluster.cluster == "local":
        return True
    time_left = allocation.end_time is None or allocation.end_time - time.time() > 2 * job.cluster.grace_s
    return end.code != START_AGAIN and progress and time_left


def _requeue(job: _Job, begun: Attempt, end: End, without: dict[str, str]) -> int:
    """Requeue this job, which keeps its id, `without` these nodes, if any."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which Slurm sends at once
    id_ = os.environ["SLURM_JOB_ID"]
    deadline = time.monotonic() + _REQUEUE_S
    while True:
        try:
            done = subprocess.run(["scontrol", "requeue", id_], capture_output=True, text=True, check=False)
        except OSError as error:
            return _not_requeued(job, begun, end, f"scontrol: {error.strerror}")
        if done.returncode == 0 or _ALREADY in done.stderr:
            if without and exclusion.exclude(job.cluster, without):
                attempts.end(LaunchFolder(job.run).attempts, begun, replace(end, excluded=without))
                remark(f"excluded from the next attempts for faulty GPUs: {', '.join(without)}")
            return START_AGAIN
        if time.monotonic() > deadline:
            return _not_requeued(job, begun, end, done.stderr.strip())
        time.sleep(2)


def _not_requeued(job: _Job, begun: Attempt, end: End, reason: str) -> int:
    """Record that Slurm did not requeue the job."""
    folder = LaunchFolder(job.run)
    why = f"Slurm did not requeue the job ({reason}); continue with: {folder.resume}"
    attempts.end(folder.attempts, begun, replace(end, then="stopped", why=why))
    remark(why)
    return FAILED

"""The state of a run, from its directory and from what the scheduler says of its job. Loads no torch."""

import shutil
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from launch import attempts, scheduler
from launch.attempts import Attempt
from launch.scheduler import GONE, UNKNOWN, JobState
from launch.submission import LaunchFolder, Submission
from trainer.checkpoint.holder_file import FRESH_S, Holder, look
from trainer.rundir import RunDirectory
from trainer.terminal import age

UnderWay = Literal["running", "queued", "waiting", "suspended", "cancelling"]
Idle = Literal["finished", "cancelled", "stopped", "lost", "not running", "unknown"]
State = UnderWay | Idle


@dataclass(frozen=True, slots=True)
class RunState:
    """A run's state, and why it is in it."""

    state: State
    """`waiting`: for another start of its job."""
    note: str = ""
    """Why, and what to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a run directory holds about its jobs and processes at one moment."""

    path: Path
    finished: bool
    """Whether it holds a result."""
    submission: Submission | None
    """What was queued last."""
    attempts: list[Attempt]
    is_cancelled: bool
    """Whether the job is not to be started again."""
    holder: Holder | None
    """The process that trains here, or that ended without removing its file."""
    touched_s: float
    """Seconds since the holder last touched its file, by this machine's clock."""
    disk_is_full: bool = False
    """Whether the end of an attempt may be missing as it could not be written."""

    @property
    def last(self) -> Attempt | None:
        """The newest attempt of the job that was queued last."""
        newest = self.attempts[-1] if self.attempts else None
        return newest if newest and self.submission and newest.job == self.submission.job else None

    @property
    def resume(self) -> str:
        return LaunchFolder(self.path).resume


def read(run: RunDirectory, *, acts: bool = False) -> Snapshot:
    """Look at a run directory; `acts`: in order to do something with its job.

    Raises:
        ValueError: A file in it is damaged: DamagedRecordError or InvalidConfigError.
        OSError: It cannot be read.
    """
    folder = LaunchFolder(run.path)
    submission = folder.submission(acts=acts)
    held = look(run.holder)
    return Snapshot(
        path=run.path,
        finished=run.finished() is not None,
        submission=submission,
        attempts=attempts.read(folder.attempts),
        is_cancelled=submission is not None and folder.is_cancelled(submission.job),
        holder=held.holder,
        touched_s=time.time() - held.touched[1] / 1e9 if held.touched else 0.0,
        disk_is_full=run.path.exists() and not shutil.disk_usage(run.path).free,
    )


def settled(seen: Snapshot) -> RunState | None:
    """The state of a run where it does not depend on the job's, else None."""
    if seen.finished:
        return RunState("finished")
    if seen.last and (end := seen.last.end) and end.then == "stopped":
        return RunState("stopped", str(end.why))
    if seen.last and (end := seen.last.end) and end.then == "cancelled":
        return RunState("cancelled", f"{end.why}; {seen.resume}")
    if seen.submission is None:
        return _never_queued(seen)
    return None


def state_of(seen: Snapshot, job: JobState) -> RunState:
    """The state of a run whose job is in this state."""
    if job.is_pending:
        return _waiting(seen, job)
    if job.is_suspended:
        return RunState("suspended", str(job))
    if job.is_at_work:
        note = "starting" if seen.last is None else str(seen.last.end.why) if seen.last.end else f"on {seen.last.nodes}"
        return RunState("cancelling" if seen.is_cancelled else "running", _joined(note, _excluded(seen)))
    killed = job.state == "CANCELLED" and seen.holder and seen.submission and seen.holder.job == seen.submission.job
    if not killed and (held := _held(seen)):  # started without a job, or by a cluster that this machine cannot ask
        return held
    if seen.is_cancelled or job.state == "CANCELLED":
        return RunState("cancelled", _joined(job.reason if job.state == "CANCELLED" else "", seen.resume))
    if not job.is_known:
        return RunState("unknown", job.reason)
    assert seen.submission is not None
    kind = "process" if seen.submission.kind == "local" else "job"
    end = "" if job == JobState(GONE) else f" ({job.reason if job.state == GONE else job})"
    full = "; its disk is full" if seen.disk_is_full else ""
    return RunState("lost", f"{kind} {seen.submission.job} is gone{end}{full}; {seen.resume}")


def job_states(runs: Iterable[Snapshot]) -> dict[Path, JobState]:
    """The states of the jobs of those runs that were queued, by run directory."""
    queued = [(seen, seen.submission) for seen in runs if seen.submission]
    asked = scheduler.states(sorted({one.job for _, one in queued if one.kind == "slurm"}))
    return {seen.path: local_state(seen) if one.kind == "local" else asked[one.job] for seen, one in queued}


def local_state(seen: Snapshot) -> JobState:
    """The state of a job that was started without a scheduler, in Slurm's terms."""
    assert seen.submission is not None
    host = seen.last.nodes if seen.last else socket.gethostname()
    if host != socket.gethostname():
        return JobState(UNKNOWN, f"a job of the machine {host}; ask there")
    return JobState("RUNNING" if _is_ours(seen.submission.job) else GONE)


def _never_queued(seen: Snapshot) -> RunState:
    if held := _held(seen):
        return held
    if seen.holder is None:
        return RunState("not running")
    end = "is gone" if seen.holder.died_here else f"was last seen {age(seen.touched_s)} ago"
    return RunState("not running", f"{seen.holder} {end}; the same command goes on")


def _waiting(seen: Snapshot, job: JobState) -> RunState:
    if seen.is_cancelled:
        return RunState("cancelling", "")
    when = f"starts about {time.strftime('%d %b %H:%M', time.localtime(job.start))}" if job.start else ""
    if seen.last is None:
        return RunState("queued", _joined(job.reason, when))
    why = str(seen.last.end.why) if seen.last.end else f"{seen.last.nodes} lost"
    return RunState("waiting", _joined(why, _excluded(seen), job.reason, when))


def _excluded(seen: Snapshot) -> str:
    nodes = attempts.excluded(seen.attempts, seen.submission.job if seen.submission else "")
    return _joined(*(f"{node} is excluded for its faulty {what}" for node, what in nodes.items()))


def _held(seen: Snapshot) -> RunState | None:
    """Running, if a live process holds the directory."""
    holder = seen.holder
    if holder is None:
        return None
    if holder.lives_here:
        return RunState("running", f"process {holder.pid} on this machine, since {holder.since}")
    if not holder.died_here and seen.touched_s < FRESH_S:
        return RunState("running", f"on {holder.host}, since {holder.since}")
    return None


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))


def _is_ours(process: str) -> bool:
    """Whether the process is alive and one of submitit's, as the system uses process ids again."""
    try:
        return process.isdigit() and b"submitit" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False

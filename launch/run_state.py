"""How a run stands: what its directory shows, and what the scheduler says of its job. Loads no torch."""

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
from trainer.checkpoint.holder_file import Holder, look
from trainer.rundir import RunDirectory
from trainer.terminal import age

UnderWay = Literal["running", "queued", "waiting", "suspended", "cancelling"]
Idle = Literal["finished", "cancelled", "stopped", "lost", "not running", "unknown"]
State = UnderWay | Idle

_FRESH_S = 60.0  # a live holder touches its file every few seconds


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands."""

    state: State
    """In a word; `waiting`: for another start of its job."""
    note: str = ""
    """Why, and what to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a run directory shows of who runs it."""

    path: Path
    """The run directory."""
    finished: bool
    """Whether it holds a result."""
    submission: Submission | None
    """What was queued last."""
    attempts: list[Attempt]
    """All attempts."""
    is_cancelled: bool
    """Whether the job is not to be started again."""
    holder: Holder | None
    """Who trains here, or has left without a word."""
    touched_s: float
    """Seconds since the holder showed that it lives, by this machine's clock."""

    @property
    def last(self) -> Attempt | None:
        """The newest attempt of the job that was queued last."""
        newest = self.attempts[-1] if self.attempts else None
        return newest if newest and self.submission and newest.job == self.submission.job else None

    @property
    def resume(self) -> str:
        """The command that goes on with the run."""
        return LaunchFolder(self.path).resume


def read(run: RunDirectory) -> Evidence:
    """Look at a run directory.

    Raises:
        ValueError: A file in it is damaged: DamagedRecordError or InvalidConfigError.
        OSError: It cannot be read.
    """
    folder = LaunchFolder(run.path)
    submission = folder.submission()
    found = look(run.holder)
    return Evidence(
        path=run.path,
        finished=run.finished() is not None,
        submission=submission,
        attempts=attempts.read(folder.attempts),
        is_cancelled=submission is not None and folder.is_cancelled(submission.job),
        holder=found.holder,
        touched_s=time.time() - found.touched[1] / 1e9 if found.touched else 0.0,
    )


def settled(seen: Evidence) -> Standing | None:
    """How a run stands whatever its job does, or None."""
    if seen.finished:
        return Standing("finished")
    if seen.last and (end := seen.last.end) and end.then == "stopped":
        return Standing("stopped", str(end.why))
    if seen.last and (end := seen.last.end) and end.then == "cancelled":
        return Standing("cancelled", f"{end.why}; {seen.resume}")
    if seen.submission is None:
        return _never_queued(seen)
    return None


def standing(seen: Evidence, job: JobState) -> Standing:
    """How a run stands whose job is in this state."""
    if job.is_pending:
        return _waiting(seen, job)
    if job.is_suspended:
        return Standing("suspended", str(job))
    if job.is_at_work:
        return Standing("cancelling" if seen.is_cancelled else "running", _at(seen))
    if here := _held(seen):  # started by hand, or a cluster that this machine cannot ask
        return here
    if seen.is_cancelled or job.state == "CANCELLED":
        return Standing("cancelled", _joined(job.reason if job.state == "CANCELLED" else "", seen.resume))
    if not job.is_known:
        return Standing("unknown", job.reason)
    return _lost(seen, job)


def job_states(runs: Iterable[Evidence]) -> dict[Path, JobState]:
    """How the jobs of runs that were queued stand, by run directory."""
    queued = [(seen, seen.submission) for seen in runs if seen.submission]
    asked = scheduler.states(sorted({one.job for _, one in queued if one.kind == "slurm"}))
    return {seen.path: local_state(seen) if one.kind == "local" else asked[one.job] for seen, one in queued}


def local_state(seen: Evidence) -> JobState:
    """The state of a job that runs on a machine without a scheduler, in a scheduler's words."""
    assert seen.submission is not None
    host = seen.last.nodes if seen.last else socket.gethostname()
    if host != socket.gethostname():
        return JobState(UNKNOWN, f"a job of the machine {host}; ask there")
    return JobState("RUNNING" if _is_ours(seen.submission.job) else GONE)


def _never_queued(seen: Evidence) -> Standing:
    if held := _held(seen):
        return held
    if seen.holder is None:
        return Standing("not running")
    fate = "is gone" if seen.holder.died_here else f"was last seen {age(seen.touched_s)} ago"
    return Standing("not running", f"{seen.holder} {fate}; the same command goes on")


def _waiting(seen: Evidence, job: JobState) -> Standing:
    if seen.is_cancelled:
        return Standing("cancelling", "")
    when = f"starts about {time.strftime('%d %b %H:%M', time.localtime(job.start))}" if job.start else ""
    if seen.last is None:
        return Standing("queued", _joined(job.reason, when))
    why = str(seen.last.end.why) if seen.last.end else f"{seen.last.nodes} lost"
    return Standing("waiting", _joined(why, job.reason, when))


def _at(seen: Evidence) -> str:
    if seen.last is None:
        return "starting"
    return str(seen.last.end.why) if seen.last.end else f"on {seen.last.nodes}"


def _held(seen: Evidence) -> Standing | None:
    """Running, if a process holds the directory."""
    holder = seen.holder
    if holder is None:
        return None
    if holder.lives_here:
        return Standing("running", f"process {holder.pid} on this machine, since {holder.since}")
    if not holder.died_here and seen.touched_s < _FRESH_S:
        return Standing("running", f"on {holder.host}, since {holder.since}")
    return None


def _lost(seen: Evidence, job: JobState) -> Standing:
    assert seen.submission is not None
    kind = "process" if seen.submission.kind == "local" else "job"
    state = "" if job == JobState(GONE) else f" ({job.reason if job.state == GONE else job})"
    return Standing("lost", f"{kind} {seen.submission.job} is gone{state}; {seen.resume}")


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))


def _is_ours(process: str) -> bool:
    """Whether the process is alive and one of submitit's: ids come round."""
    try:
        return process.isdigit() and b"submitit" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False

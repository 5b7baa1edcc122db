"""Ask Slurm for the states of jobs: one squeue, and one sacct for those that squeue no longer lists."""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

TIMEOUT_S = 20.0  # squeue itself tries for longer while slurmctld does not answer

UNKNOWN = "UNKNOWN"
GONE = "GONE"

_PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
_SUSPENDED = frozenset({"SUSPENDED", "STOPPED"})
_AT_WORK = frozenset({"RUNNING", "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT"})
_JOB = re.compile(r"[0-9]+(_[0-9]+)?")


@dataclass(frozen=True, slots=True)
class JobState:
    """A job's state."""

    state: str
    """As Slurm names it; UNKNOWN if Slurm does not answer, GONE if it does not know the job."""
    reason: str = ""
    """Why it waits, how it ended, or why its state is unknown."""
    start: float | None = None
    """When a waiting job is expected to start, seconds since 1970."""
    end: float | None = None
    """When the time limit of a job at work is reached, likewise."""

    @property
    def is_known(self) -> bool:
        return self.state != UNKNOWN

    @property
    def is_pending(self) -> bool:
        """Whether it waits for its first start or a restart."""
        return self.state in _PENDING

    @property
    def is_suspended(self) -> bool:
        return self.state in _SUSPENDED

    @property
    def is_at_work(self) -> bool:
        """Whether it has its nodes."""
        return self.state in _AT_WORK

    @property
    def is_there(self) -> bool:
        """Whether it is running or will be."""
        return self.is_pending or self.is_suspended or self.is_at_work

    def __str__(self) -> str:
        return f"{self.state}, {self.reason}" if self.reason else self.state


class _NoAnswerError(RuntimeError):
    """A command of Slurm failed; the message says in a line which and why."""


def states(jobs: Iterable[str]) -> dict[str, JobState]:
    """The state of each job; an array's task is named `12_3`."""
    ids = dict.fromkeys(jobs)
    valid = [job for job in ids if _JOB.fullmatch(job)]
    answers = _ask(valid) if valid else {}
    return {job: answers.get(job, JobState(UNKNOWN, f"{job!r} is no job id of Slurm's")) for job in ids}


def _ask(jobs: list[str]) -> dict[str, JobState]:
    try:
        queued = _queued(jobs)
    except _NoAnswerError as error:
        return {job: JobState(UNKNOWN, str(error)) for job in jobs}
    missing = [job for job in jobs if job not in queued]
    return queued | (_ended(missing) if missing else {})


def _queued(jobs: list[str]) -> dict[str, JobState]:
    """What squeue lists: jobs that wait or run, and for some minutes those that have ended.

    Raises:
        _NoAnswerError: squeue failed.
    """
    flags = ("--all", "--array", "--noheader", "--states=all", "--format=%i|%T|%r|%S|%e")
    try:
        text = _call("squeue", *flags, f"--jobs={','.join(jobs)}")
    except _NoAnswerError as error:
        if "Invalid job id specified" in str(error):  # none of them is listed
            return {}
        raise
    listed = dict(_line(line) for line in text.splitlines())
    return {job: listed[job] for job in jobs if job in listed}


def _line(line: str) -> tuple[str, JobState]:
    job, state, reason, *times = (line.split("|") + [""] * 4)[:5]
    if state == "CANCELLED" or reason == "None":  # a cancelled job still has the reason for which it had waited
        reason = ""
    start, end = (float(time) if time.isdigit() else None for time in times)
    return job, JobState(state, reason, start if state in _PENDING else None, end if state in _AT_WORK else None)


def _ended(jobs: list[str]) -> dict[str, JobState]:
    """The states by Slurm's accounting, which many clusters lack, of jobs that squeue no longer lists."""
    gone = {job: JobState(GONE) for job in jobs}
    flags = ("--allusers", "--allocations", "--noheader", "--parsable2", "--format=JobID,State,ExitCode")
    try:
        text = _call("sacct", *flags, f"--jobs={','.join(jobs)}")
    except _NoAnswerError as error:
        return {job: JobState(GONE, str(error)) for job in jobs}
    for line in text.splitlines():
        job, state, code = (line.split("|") + [""] * 2)[:3]
        if job in gone:
            gone[job] = _closed(state, code)
    return gone


def _closed(state: str, code: str) -> JobState:
    """The state of a job that squeue no longer lists.

    Args:
        state: In the accounting, such as `CANCELLED by 0`; `RUNNING` if the job's end was not recorded.
        code: Exit code and signal, such as `3:0`.
    """
    word, _, by = state.partition(" ")
    if word in _PENDING | _SUSPENDED | _AT_WORK:
        return JobState(GONE, f"though accounting lists it as {word}")
    exit_code, _, number = code.partition(":")
    if by:
        return JobState(word, by.replace("by ", "by uid "))
    if word != "FAILED":  # the codes of others mislead: out of memory is signal 125
        return JobState(word)
    if number not in ("", "0"):
        return JobState(word, f"signal {number}")
    return JobState(word, f"exit code {exit_code}" if exit_code not in ("", "0") else "")


def _call(*words: str) -> str:
    """The output of a command.

    Raises:
        _NoAnswerError: It does not exist, fails or does not end.
    """
    # the user's own settings of filters and columns must not apply
    others = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SACCT_"))}
    variables = others | {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, env=variables
        )
    except FileNotFoundError:
        raise _NoAnswerError(f"{words[0]} is not on this machine") from None
    except OSError as error:
        raise _NoAnswerError(f"{words[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise _NoAnswerError(f"{words[0]} gave no answer within {TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise _NoAnswerError(f"{words[0]}: {said[-1]}")
    return done.stdout

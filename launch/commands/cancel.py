"""`provenet cancel`: end a run, with a checkpoint. Loads no torch."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from launch import attempts
from launch.run_state import Snapshot, job_states, read
from launch.scheduler import JobState
from launch.submission import LaunchFolder, Submission
from trainer.exits import FAILED, refuse
from trainer.rundir import RunDirectory

_ASK_S = 5.0  # a process that was only starting has not heard the first signal
_LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Let a submitted run save and end, and Slurm not start it again; waits until it has.

    `provenet resume RUN` goes on with it later.

    Example: provenet cancel runs/r50
    """

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Run directory."""
    now: bool = False
    """Kill it without a checkpoint: what came after the newest one is trained again by a resume."""

    def run(self) -> int:
        """Cancel the run's job."""
        run = RunDirectory(self.run_directory)
        try:
            seen = read(run)
        except ValueError as error:
            return refuse([str(error)])
        if seen.submission is None:
            return refuse([f"RUN: {run.path} was never submitted: it holds no launch/submission.json"])
        job = _Job(seen, seen.submission)
        if not job.state().is_known:
            return refuse([f"job {job.submission.job} cannot be asked for: {job.state().reason}"])
        if not job.is_there():
            sys.stdout.write(f"job {job.submission.job} has ended already\n")
            return 0
        LaunchFolder(run.path).cancel(job.submission.job)
        return self._end(job, run)

    def _end(self, job: "_Job", run: RunDirectory) -> int:
        if self.now or not job.state().is_at_work:
            job.kill()
        else:
            job.ask(f"job {job.submission.job} saves and ends; Ctrl-C stops only the waiting")
        if job.is_there():
            sys.stderr.write(f"job {job.submission.job} is still there; kill it: add --now\n")
            return FAILED
        step = attempts.newest_step(run.checkpoints)
        sys.stdout.write(f"job {job.submission.job} has ended; the newest checkpoint is of step {step:,}\n")
        sys.stdout.write(f"  go on with   {LaunchFolder(run.path).resume}\n")
        return 0


@dataclass(frozen=True, slots=True)
class _Job:
    """The job of a submission, on a cluster or here."""

    seen: Snapshot
    submission: Submission

    def state(self) -> JobState:
        """How it stands."""
        return job_states([self.seen])[self.seen.path]

    def is_there(self) -> bool:
        """Whether it runs, or will, or nobody says."""
        state = self.state()
        return state.is_there or not state.is_known

    def kill(self) -> None:
        """End it without a word, and wait until it is gone."""
        if self.submission.kind == "local":
            with suppress(ProcessLookupError):  # submitit's controller takes its processes along
                os.kill(int(self.submission.job), signal.SIGINT)
        else:
            _scancel(self.submission.job)
        self._wait(60.0)

    def ask(self, text: str) -> None:
        """Let it save and end, and wait until it has."""
        sys.stderr.write(f"{text}\n")
        deadline = time.monotonic() + 2 * self._grace_s()
        while self.is_there() and time.monotonic() < deadline:
            self._signal()
            self._wait(_ASK_S)

    def _grace_s(self) -> float:
        return float(self.submission.request.get("grace_s", 120))

    def _signal(self) -> None:
        if self.submission.kind == "local":
            with suppress(ProcessLookupError):
                os.kill(int(self.submission.job), signal.SIGTERM)
        else:
            _scancel("--signal=USR2", self.submission.job)  # to the ranks; the job's own process sees them end

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.is_there() and time.monotonic() < end:
            time.sleep(_LOOK_S)


def _scancel(*words: str) -> None:
    """Call scancel; a job that is gone meanwhile is what was wanted."""
    subprocess.run(["scancel", *words], check=False, capture_output=True, timeout=60)

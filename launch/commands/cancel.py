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
from trainer.exits import FAILED, refuse, say
from trainer.rundir import RunDirectory
from trainer.terminal import write

_REPEAT_S = 5.0  # a process that is only starting does not handle the first signal
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Let a submitted run save and end, keep Slurm from starting it again, and wait for its end.

    `provenet resume RUN` goes on with it later.

    Example: provenet cancel runs/r50
    """

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Run directory."""
    now: bool = False
    """Kill it without a checkpoint: `resume` trains again what came after the newest one."""

    def run(self) -> int:
        run = RunDirectory(self.run_directory)
        try:
            seen = read(run, acts=True)
        except NotADirectoryError:
            return refuse([f"RUN: {run.path} is not a folder"])
        except ValueError as error:
            return refuse([str(error)])
        if seen.submission is None:
            return refuse([f"RUN: {run.path} was never submitted: it holds no launch/submission.json"])
        job = _Job(seen, seen.submission)
        if not job.state().is_known:
            return refuse([f"the state of job {job.id} is unknown: {job.state().reason}"])
        if not job.may_run():
            write(f"job {job.id} has ended already\n")
            return 0
        LaunchFolder(run.path).cancel(job.id)
        return self._end(job, run)

    def _end(self, job: "_Job", run: RunDirectory) -> int:
        if self.now or not job.state().is_at_work:
            job.kill()
        else:
            sys.stderr.write(f"job {job.id} saves and ends; Ctrl-C stops only the waiting\n")
            job.stop()
        if job.may_run():
            return say(f"job {job.id} has not ended; kill it: add --now", FAILED)
        step = attempts.newest_step(run.checkpoints)
        write(f"job {job.id} has ended; the newest checkpoint is of step {step:,}\n")
        write(f"  go on with   {LaunchFolder(run.path).resume}\n")
        return 0


@dataclass(frozen=True, slots=True)
class _Job:
    seen: Snapshot
    submission: Submission

    @property
    def id(self) -> str:
        return self.submission.job

    def state(self) -> JobState:
        return job_states([self.seen])[self.seen.path]

    def may_run(self) -> bool:
        """Whether it is running, will be, or its state is unknown."""
        state = self.state()
        return state.is_there or not state.is_known

    def kill(self) -> None:
        """End it without a checkpoint, and wait for its end."""
        self._send(signal.SIGINT)  # submitit's local controller kills its processes then
        self._wait(60.0)

    def stop(self) -> None:
        """Let it save and end, and wait for its end."""
        deadline = time.monotonic() + 2 * float(self.submission.request.get("grace_s", 120))
        while self.may_run() and time.monotonic() < deadline:
            self._send(signal.SIGTERM, "--signal=USR2")  # Slurm sends it to the ranks; the job's process sees their end
            self._wait(_REPEAT_S)

    def _send(self, local: signal.Signals, *slurm: str) -> None:
        """Send a signal to a local job, or call scancel with these flags; a job that is gone needs neither."""
        if self.submission.kind == "local":
            with suppress(ProcessLookupError):
                os.kill(int(self.id), local)
        else:
            subprocess.run(["scancel", *slurm, self.id], check=False, capture_output=True, timeout=60)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.may_run() and time.monotonic() < end:
            time.sleep(_POLL_S)

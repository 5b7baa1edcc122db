"""A run on the drill's cluster: submitted as a user would, watched, and compared with another."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import attempts
from launch.attempts import Attempt
from launch.submission import LaunchFolder
from tests.commands import HANGS_S
from tests.system.drill.cluster import Cluster, ClusterError
from tests.system.measured import MEASURED
from trainer.checkpoint import files
from trainer.rundir import RunDirectory

_POLL_S = 0.05


class DrillError(RuntimeError):
    """A run was refused, or did not do what the drill waits for."""


@dataclass(frozen=True, slots=True)
class Running:
    """A run that was submitted to the cluster."""

    cluster: Cluster
    run: RunDirectory
    job: str
    """Slurm's id."""
    reached: dict[int, int] = field(default_factory=dict[int, int])
    """By attempt, the last step that it was seen to log."""

    @property
    def log(self) -> str:
        """The whole log of its job."""
        submission = LaunchFolder(self.run.path).submission()
        file = Path(submission.log) if submission else self.run.path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def attempts(self) -> list[Attempt]:
        return attempts.read(LaunchFolder(self.run.path).attempts)

    def nodes(self) -> list[str]:
        """The nodes it runs on, that of rank 0 first."""
        names = self.cluster.ask("squeue", "--noheader", f"--jobs={self.job}", "--format=%N").strip()
        return self.cluster.ask("scontrol", "show", "hostnames", names).split()

    def await_step(self, step: int) -> None:
        """Wait until it has logged a step."""
        self.wait_for(lambda: last_step(self.run) >= step, f"step {step}")

    def await_attempt(self, number: int) -> None:
        """Wait until the attempt of this number has begun."""
        self.wait_for(lambda: len(self.attempts()) >= number, f"attempt {number}")

    def await_end(self) -> None:
        """Wait for its result."""
        self.wait_for(self.run.result.exists, "its end")

    def await_release(self) -> None:
        """Wait until its job has recorded its end."""
        self.wait_for(lambda: any(one.end and one.end.then == "done" for one in self.attempts()), "its job's end")

    def steps_again(self) -> int:
        """Optimizer steps that were trained more than once: those after the step at which the next attempt began."""
        return sum(max(0, self.reached.get(one.number - 1, 0) - one.step) for one in self.attempts())

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = HANGS_S) -> None:
        """Wait until something is so.

        Raises:
            DrillError: It is still false after `timeout_s`, or the run has stopped for good.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            last = self.attempts()[-1:]
            self._note(last)
            if time.monotonic() > deadline or (last and last[0].end and last[0].end.then == "stopped"):
                raise DrillError(f"waited for {what} of {self.run.path}; its log ends:\n{self.log[-2000:]}")
            time.sleep(_POLL_S)

    def _note(self, last: list[Attempt]) -> None:
        if last and last[0].end is None:  # the next attempt cuts the metrics back
            self.reached[last[0].number] = last_step(self.run)

    def processes(self, rank: int | None = None) -> list[int]:
        """The process ids of its ranks, or of one rank, as this machine sees them."""
        processes: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                words, variables = ((folder / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
                ours = b"trainer" in words and str(self.run.recipe).encode() in words and b"srun" not in words[:1]
                if ours and (rank is None or f"SLURM_PROCID={rank}".encode() in variables):
                    processes.append(int(folder.name))
        return processes

    def signal(self, number: signal.Signals, rank: int | None = None) -> None:
        """Send a signal to its ranks, or to one of them."""
        for process in self.processes(rank):
            with suppress(ProcessLookupError):
                os.kill(process, number)


def submit(cluster: Cluster, arguments: tuple[str, ...], output: Path) -> Running:
    """Queue a run by `provenet submit`.

    Raises:
        DrillError: It is refused.
    """
    words = [sys.executable, "-m", "launch", "submit", *arguments, "--output", str(output)]
    done = subprocess.run(words, env=cluster.environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DrillError((done.stderr or done.stdout).strip())
    submission = LaunchFolder(output).submission()
    assert submission
    return Running(cluster, RunDirectory(output), submission.job)


def withdraw(running: Running) -> None:
    """End a run's job, if there is one."""
    with suppress(ClusterError):
        running.cluster.ask("scancel", running.job)


def difference(ours: RunDirectory, theirs: RunDirectory) -> str | None:
    """How two finished runs differ: in the hashes of weights and state, or in a logged number; None: they do not."""
    pair = [files.newest_valid(run.checkpoints) for run in (ours, theirs)]
    if None in pair:
        return "one has no checkpoint"
    hashes, others = ({name: listed["sha256"] for name, listed in _listed(path)} for path in pair if path)
    if wrong := [name for name in hashes.keys() | others.keys() if hashes.get(name) != others.get(name)]:
        return f"{', '.join(sorted(wrong))} of the last checkpoint"
    if len(_points(ours)) != len(_points(theirs)):
        return f"{len(_points(ours))} logged points, not {len(_points(theirs))}"
    changed = (here for here, there in zip(_points(ours), _points(theirs), strict=True) if here != there)
    return next((f"the logged point {point}" for point in changed), None)


def _listed(path: Path) -> Any:
    return files.read_manifest(path).files.items()


def _points(run: RunDirectory) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in record.items() if name not in MEASURED}
        for record in run.records()
        if record["kind"] != "start"
    ]


def last_step(run: RunDirectory) -> int:
    """The last step logged, without a line that is being written."""
    try:
        return int(json.loads(run.metrics.read_text(encoding="utf-8").split("\n")[-2])["step"])
    except (OSError, ValueError, LookupError):
        return 0

"""`provenet logs`: the output of a run's job, of all ranks or of one. Loads no torch."""

import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import tyro

from launch import attempts
from launch.log_reader import LogFile
from launch.submission import LaunchFolder, Submission
from trainer.exits import refuse
from trainer.recipe.decode import range_problems
from trainer.rundir import RunDirectory
from trainer.terminal import clean, remark, write

_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Logs:
    """Show the end of the output of a run's job: the job's own lines, and after `RANK: ` those of each process.

    Without --attempt, all attempts of the job that was queued last.

    Example: provenet logs runs/r50 --rank 0 --follow
    """

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Run directory."""
    rank: int | None = field(default=None, metadata={"min": 0, "max": 1_000_000})
    """Only the lines of this rank, without its label. None: all lines."""
    attempt: int | None = field(default=None, metadata={"min": 1, "max": 1_000_000})
    """Only this attempt, also one of an earlier job. None: all of the job."""
    lines: int = field(default=100, metadata={"min": 0, "max": 1_000_000})
    """How many lines of the end; 0: all."""
    follow: bool = False
    """Go on with new lines until the run ends or Ctrl-C."""

    def run(self) -> int:
        try:
            return self._run()
        except KeyboardInterrupt:
            return 0

    def _run(self) -> int:
        folder = LaunchFolder(self.run_directory)
        if (submission := folder.submission()) is None:
            return refuse([_reason(self.run_directory)])
        if problems := range_problems(self, flags=True):
            return refuse(problems)
        jobs = {attempt.number: attempt.job for attempt in attempts.read(folder.attempts)}
        job = jobs.get(self.attempt or 0, submission.job)
        log, skipped = LogFile(_log(folder, submission, job), self.rank, self.attempt), 0
        try:
            skipped = log.seek(self.lines)
        except FileNotFoundError:
            remark(f"job {job} has written nothing yet: there is no {log.file}")
        except LookupError as error:
            return refuse([f"--attempt: {self.attempt} has no lines in {log.file}, which {error}"])
        _write(islice(log.more(), skipped, None))
        if self.follow:
            self._follow(log, folder, job)
        _write(log.more(is_last=True))
        return 0

    def _follow(self, log: LogFile, folder: LaunchFolder, job: str) -> None:
        ended = False
        while not log.is_over:
            had_ended, ended = ended, has_ended(folder, job, self.attempt)
            before = log.offset
            _write(log.more())
            if had_ended and log.offset == before:  # a job writes its last line after the record of its end
                return
            time.sleep(_POLL_S)


def has_ended(folder: LaunchFolder, job: str, attempt: int | None) -> bool:
    """Whether the job, or one of its attempts, has ended and is not started again."""
    begun = [each for each in attempts.read(folder.attempts) if each.job == job]
    if attempt is not None:
        return any(each.number > attempt or (each.number == attempt and each.end) for each in begun)
    if not begun:
        return folder.is_cancelled(job)
    end = begun[-1].end
    return end is not None and (end.then != "again" or folder.is_cancelled(job))


def _reason(run: Path) -> str:
    """Why there is no log."""
    if not run.is_dir():
        return f"RUN: {run} is not a folder"
    if not RunDirectory(run).recipe.exists():
        return f"RUN: {run} is not a run directory: it holds no recipe.yaml"
    submit = f"provenet submit RECIPE --output {shlex.quote(str(run))}"
    return f"RUN: {run} was never queued, so it has no log; {submit} queues it"


def _log(folder: LaunchFolder, submission: Submission, job: str) -> Path:
    newest = folder.path / submission.log
    log = newest.with_name(newest.name.replace(submission.job, job, 1))
    here = folder.path / log.name  # the run directory was moved, or only one of the two jobs was part of an array
    return here if here.exists() and not log.exists() else log


def _write(lines: Iterator[bytes]) -> None:
    for line in lines:
        write(clean(line.decode(errors="replace")) + "\n")
    sys.stdout.flush()

"""What submitting a run leaves in its directory: what was asked for, each attempt, the log. Standard library only.

The folder is its owner's alone: a job unpickles and imports what lies there.
"""

import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from data import schema
from data.schema import NewerSchemaError
from trainer.rundir import write_text

SCHEMA = 1

Kind = Literal["slurm", "local"]


class DamagedRecordError(ValueError):
    """A file of the folder cannot be read; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What was queued last."""

    job: str
    """Slurm's job id, that of an array's task as `12_3`, or the process id of a local job."""
    kind: Kind
    """Who runs it."""
    time: float
    """When it was queued, seconds since 1970."""
    log: str
    """File that takes all output: the job's own lines, and those of each rank behind `RANK: `."""
    code: str
    """Folder of the pinned code."""
    commit: str
    """Commit of that code."""
    request: dict[str, Any]
    """The cluster's settings, as plain data."""
    site: dict[str, Any]
    """The site's settings, as plain data."""

    def __post_init__(self) -> None:
        """Take no damaged record for a submission."""
        texts: list[object] = [self.job, self.log]
        if not all(isinstance(text, str) for text in texts) or self.kind not in get_args(Kind):
            raise TypeError("names no job and log")


@dataclass(frozen=True, slots=True)
class LaunchFolder:
    """`RUN/launch`."""

    run: Path
    """The run directory."""

    @property
    def path(self) -> Path:
        """The folder itself: scripts, pickles, code, logs."""
        return self.run / "launch"

    @property
    def attempts(self) -> Path:
        """One JSON object a line: each attempt's begin and end."""
        return self.path / "attempts.jsonl"

    @property
    def cancelled(self) -> Path:
        """There while the job that it names is not to be started again."""
        return self.path / "cancelled"

    @property
    def resume(self) -> str:
        """The command that goes on with the run, for a shell."""
        return f"provenet resume {shlex.quote(str(self.run))}"

    @property
    def _submission(self) -> Path:
        return self.path / "submission.json"

    def make(self) -> None:
        """Make the folder, for its owner alone."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def submission(self) -> Submission | None:
        """What was queued last, or None.

        Raises:
            DamagedRecordError: It cannot be read.
        """
        try:
            content = json.loads(self._submission.read_text(encoding="utf-8"))
            schema.check(content["schema"], SCHEMA, self._submission)
            return Submission(**schema.known_fields(Submission, content))
        except FileNotFoundError:
            return None
        except NewerSchemaError as error:
            raise DamagedRecordError(f"{error}, or remove it and submit again") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            mend = "remove it and submit again"
            raise DamagedRecordError(f"{self._submission}: cannot be read ({error}); {mend}") from None

    def record(self, submission: Submission) -> None:
        """Write down what was queued."""
        write_text(self._submission, json.dumps({"schema": SCHEMA, **asdict(submission)}, indent=2) + "\n")

    def cancel(self, job: str) -> None:
        """Let the job not be started again."""
        write_text(self.cancelled, job + "\n")

    def is_cancelled(self, job: str) -> bool:
        """Whether the job is not to be started again."""
        try:
            return self.cancelled.read_text(encoding="utf-8").strip() == job
        except FileNotFoundError:
            return False


def unsafe(folder: Path) -> str | None:
    """Why nothing in the folder may be unpickled or imported: another user could have put it there. None: it may."""
    folder = folder.resolve()
    closed = folder.stat().st_mode & 0o077 == 0  # then the modes of what lies inside do not matter
    for place in (folder, *(() if closed else folder.iterdir())):
        status = place.lstat()
        if status.st_uid not in (os.geteuid(), 0):
            return f"{place} belongs to another user (uid {status.st_uid})"
        if status.st_mode & 0o022 and not place.is_symlink():
            return f"{place} can be written by others (mode {status.st_mode & 0o777:o}); chmod go-w it"
    return None

"""The folder that submitting a run makes in its directory, with settings, attempts and log. Standard library only.

Only its owner can write there. Who can write the run directory, though, can put a folder of their own in its place.
"""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from data import schema
from data.output_folder import ForeignError, read_own
from data.schema import NewerSchemaError
from trainer.rundir import write_text

SCHEMA = 1

Kind = Literal["slurm", "local"]


class DamagedRecordError(ValueError):
    """A file of the folder cannot be read; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """The record of the last submission."""

    job: str
    """Slurm's job id, that of an array's task as `12_3`, or the process id of a local job."""
    kind: Kind
    time: float
    """When it was queued, seconds since 1970."""
    log: str
    """File of all output: the job's own lines, and those of each rank after `RANK: `."""
    code: str
    """Archive of the code."""
    commit: str
    """Commit of that code."""
    request: dict[str, Any]
    """ClusterConfig, encoded."""
    site: dict[str, Any]
    """SiteConfig, encoded."""

    def __post_init__(self) -> None:
        """Refuse a damaged record."""
        texts: list[object] = [self.job, self.log]
        if not all(isinstance(text, str) for text in texts) or self.kind not in get_args(Kind):
            raise TypeError("names no job and log")


@dataclass(frozen=True, slots=True)
class LaunchFolder:
    """The folder `launch` of the run directory `run`: scripts, pickles, code, logs."""

    run: Path

    @property
    def path(self) -> Path:
        return self.run / "launch"

    @property
    def attempts(self) -> Path:
        """A JSON object a line: each attempt's begin and end."""
        return self.path / "attempts.jsonl"

    @property
    def cancelled(self) -> Path:
        """Exists while the job that it names is not to be started again."""
        return self.path / "cancelled"

    @property
    def resume(self) -> str:
        """The shell command that continues the run."""
        return f"provenet resume {shlex.quote(str(self.run))}"

    @property
    def _submission(self) -> Path:
        return self.path / "submission.json"

    def make(self) -> None:
        """Create the folder, readable by its owner only."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.path.chmod(0o700)

    def submission(self, *, acts: bool = False) -> Submission | None:
        """The last submission, or None.

        Args:
            acts: The caller does what the record says: it must be from this user or root.

        Raises:
            DamagedRecordError: It cannot be read, or others could have written it.
        """
        try:
            text = read_own(self._submission) if acts else self._submission.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ForeignError as error:
            raise DamagedRecordError(str(error)) from None
        try:
            content = schema.parse(text.decode(errors="replace"))
            schema.check(content["schema"], SCHEMA, self._submission)
            return Submission(**schema.known_fields(Submission, content))
        except NewerSchemaError as error:
            raise DamagedRecordError(f"{error}, or remove it and submit again") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problem = f"{self._submission}: cannot be read ({error}); remove it and submit again"
            raise DamagedRecordError(problem) from None

    def record(self, submission: Submission) -> None:
        write_text(self._submission, json.dumps({"schema": SCHEMA, **asdict(submission)}, indent=2) + "\n")

    def cancel(self, job: str) -> None:
        """Keep the job from being started again."""
        write_text(self.cancelled, job + "\n")

    def is_cancelled(self, job: str) -> bool:
        try:
            return self.cancelled.read_text(encoding="utf-8").strip() == job
        except FileNotFoundError:
            return False

"""metrics.jsonl as one start of a run writes it. Rank 0 only."""

import json
import time
from typing import Any

from data.durable import whole
from trainer import streams
from trainer.records import lines
from trainer.rundir import RunDirectory
from trainer.telemetry.appender import Appender, Say


class Journal:
    """Writes the records of this start to metrics.jsonl."""

    starts: int
    """Starts of this run so far."""
    records: int
    """Other records so far."""

    def __init__(self, run: RunDirectory, step: int, evaluated: int, say: Say) -> None:
        """Drop what was logged past `step`, from which training goes on, and evaluations past the first `evaluated`."""
        self.starts = self.records = self._dropped = 0
        with whole(run.metrics) as stream:
            for line, record in lines(run.metrics):
                if _is_valid(record, step, evaluated):
                    stream.write(line)
                    self._count(record["kind"])
                else:
                    self._dropped = max(self._dropped, record["step"])
        self._file, self._lost_output = Appender(run.metrics, say), list[str]()

    def gone(self, step: int, counted: int) -> list[str]:
        """What of the run is missing at this start, for the user, where its checkpoint had `counted` records."""
        checkpoints = f"there is no checkpoint of the steps up to {self._dropped:,}, which are trained again"
        records = [lacking(counted, self.records, step)] if self.records < counted else []
        return [*records, *([checkpoints] if not step and self._dropped else [])]

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a record, and flush it."""
        record = {"kind": kind, "step": step, **values, **self._output(), "time": round(time.time(), 3)}
        self._file.add(f"{json.dumps(record, allow_nan=False)}\n".encode())
        self._count(kind)

    def settle(self) -> None:
        """Make sure that the file holds all records.

        Raises:
            OSError: It does not; those that are held in memory would be lost with this process.
        """
        if error := self._file.flush():
            raise error

    def close(self) -> None:
        self._file.close()

    def _count(self, kind: str) -> None:
        self.starts, self.records = self.starts + (kind == "start"), self.records + (kind != "start")

    def _output(self) -> dict[str, Any]:
        """Which output cannot be written, once."""
        lost = [text for text in streams.lost() if text not in self._lost_output]
        self._lost_output += lost
        return {"lost_output": lost} if lost else {}


def lacking(counted: int, there: int, step: int) -> str:
    """That a run has lost records which its checkpoint of `step` had counted, in words."""
    return f"metrics.jsonl lacks {counted - there:,} of the {counted:,} records that it had up to step {step:,}"


def _is_valid(record: dict[str, Any], step: int, evaluated: int) -> bool:
    if record["kind"] in ("eval", "eval_ema"):
        return record["epoch"] <= evaluated
    return record["kind"] == "start" or (record["kind"] != "diverged" and record["step"] <= step)

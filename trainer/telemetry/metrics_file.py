"""metrics.jsonl, the record of a run: one JSON object a line, as soon as it is known. Rank 0 only."""

import json
import time
from typing import Any

from trainer.rundir import RunDirectory, write_text


class Journal:
    """The writer of one process's stretch of a run."""

    def __init__(self, run: RunDirectory, step: int, evaluated: int) -> None:
        """Drop what was logged past `step`, from which training goes on, and evaluations past the first `evaluated`."""
        kept = [record for record in run.records() if _stands(record, step, evaluated)]
        write_text(run.metrics, "".join(json.dumps(record) + "\n" for record in kept))
        self.starts = sum(record["kind"] == "start" for record in kept)
        """Of this run before this one."""
        self._stream = run.metrics.open("a", encoding="utf-8")

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a record, for others to read at once."""
        record = {"kind": kind, "step": step, **values, "time": round(time.time(), 3)}
        self._stream.write(json.dumps(record, allow_nan=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Write everything out."""
        self._stream.close()


def _stands(record: dict[str, Any], step: int, evaluated: int) -> bool:
    if record["kind"] in ("eval", "eval_ema"):
        return record["epoch"] <= evaluated
    return record["kind"] == "start" or record["step"] <= step

"""A TensorBoard event file that is written as it comes, and whose failure ends no run."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

# pyright: reportAttributeAccessIssue=false
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

_NUMBERS = count()  # tells files apart that one process opens within a second


class Events:
    """One file, beside those of earlier starts.

    TensorBoard's own writer has a thread, whose errors come late and as a traceback: where the disk is full, the run is
    to go on without curves, as it does without checkpoints. metrics.jsonl has all numbers.
    """

    def __init__(self, folder: Path, purge_step: int | None, say: Callable[[str], None]) -> None:
        """Open it.

        Args:
            folder: Made where there is none.
            purge_step: Readers forget what earlier files have of this step or a later one.
            say: Is told, once, if the file cannot be written any more.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # readers take files in the order of their names: the second first
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        self._say = say
        self._records: RecordWriter | None = RecordWriter((folder / name).open("xb"))
        self._add(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, summary: Summary, step: int = 0) -> None:
        """Write a summary of a step, for others to read at once."""
        self._add(Event(step=step, summary=summary))

    def close(self) -> None:
        """End."""
        self._tried(lambda records: records.close())

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._tried(lambda records: records.write(event.SerializeToString()))
        # a point that a kill took with it would be missing: training goes on from a checkpoint behind it
        self._tried(lambda records: records.flush())

    def _tried(self, work: Callable[[RecordWriter], object]) -> None:
        records = self._records
        if records is None:
            return
        try:
            work(records)
        except OSError as error:
            self._records = None
            with suppress(OSError):  # what it still holds cannot be written either
                records.close()
            self._say(
                f"TensorBoard's file cannot be written: {error.strerror}; metrics.jsonl has what is missing there"
            )

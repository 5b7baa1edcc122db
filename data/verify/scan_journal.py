"""The progress of a scan on disk, so that a scan that was killed can continue."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data import durable, schema
from data.verify.inspection import Facts

HEAD = b"images found usable, version 1\n"

Record = tuple[str, Facts]
"""An image's key and facts."""


class Journal:
    """An append-only file with a line for each finished chunk. A last line that a kill cut short is ignored."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file

    def records(self) -> Iterator[Record]:
        """Records of earlier scans; once all are read, the file is truncated to its complete lines."""
        end = 0
        with self._path.open("rb") as file:
            for size, records in _whole_lines(file):
                end += size
                yield from records
        with durable.naming(self._path):
            self._file.truncate(end)
        if not end:
            self._write(HEAD)

    def add(self, records: Iterable[Record]) -> None:
        """Append a line.

        Raises:
            OSError: The disk is full.
        """
        rows = [[key, *facts[:-1], facts.digest.hex()] for key, facts in records]
        self._write(json.dumps(rows, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with durable.naming(self._path):
            self._file.write(line)


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """Open or create the journal at `path`, and lock it.

    Raises:
        OSError: It cannot be written, or another process has locked it.
    """
    with os.fdopen(durable.opened(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(error.errno, "another process is scanning these images; let it finish", str(path)) from None
        except OSError:
            pass  # no locks on this file system: two scans at once would write lines that neither can read
        yield Journal(path, file)


def _whole_lines(file: IO[bytes]) -> Iterator[tuple[int, Sequence[Record]]]:
    """Length and records of each complete line; none in a file of another kind or version."""
    if file.read(len(HEAD)) != HEAD:
        return
    yield len(HEAD), ()
    for line in file:
        records = _parsed(line)
        if records is None:
            return
        yield len(line), records


def _parsed(line: bytes) -> Sequence[Record] | None:
    """The records of a line; None where it is incomplete."""
    if not line.endswith(b"\n"):
        return None
    try:
        rows = schema.parse(line)
        return [(str(key), Facts._make([*map(int, numbers), bytes.fromhex(digest)])) for key, *numbers, digest in rows]
    except (ValueError, TypeError):
        return None

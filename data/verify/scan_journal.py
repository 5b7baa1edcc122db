"""What a scan has found so far, kept on disk so that a killed one goes on where it stopped."""

import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data.verify.inspection import Facts

HEAD = b"images found usable, version 1\n"

Record = tuple[str, Facts]
"""An image's key, and what was found."""


class Journal:
    """An append-only file: a line for each finished chunk. What a kill tears is its last line, which is left out."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file

    def records(self) -> Iterator[Record]:
        """What earlier scans left; read to its end, the file ends with the last whole line of it."""
        end = 0
        with self._path.open("rb") as file:
            for size, records in _whole_lines(file):
                end += size
                yield from records
        self._file.truncate(end)
        if not end:
            self._write(HEAD)

    def add(self, records: Iterable[Record]) -> None:
        """Write a line, which outlasts this process.

        Raises:
            OSError: The disk is full.
        """
        rows = [[key, *facts[:-1], facts.digest.hex()] for key, facts in records]
        self._write(json.dumps(rows, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:  # which does not tell the file's name
            raise OSError(error.errno, error.strerror, str(self._path)) from None


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """The journal at `path`, a new one if there is none, to this process alone.

    Raises:
        OSError: It cannot be written, or another process writes it.
    """
    with path.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(error.errno, "another process is looking at these images; let it finish", str(path)) from None
        except OSError:
            pass  # no locks on this file system: two scans at once would write lines that neither can read
        yield Journal(path, file)


def _whole_lines(file: IO[bytes]) -> Iterator[tuple[int, Sequence[Record]]]:
    """Bytes and contents of each; nothing of a file that is none of ours, or another version's."""
    if file.read(len(HEAD)) != HEAD:
        return
    yield len(HEAD), ()
    for line in file:
        records = _parsed(line)
        if records is None:
            return
        yield len(line), records


def _parsed(line: bytes) -> Sequence[Record] | None:
    """None for a torn line."""
    if not line.endswith(b"\n"):
        return None
    try:
        rows = json.loads(line)
        return [(str(key), Facts._make([*map(int, numbers), bytes.fromhex(digest)])) for key, *numbers, digest in rows]
    except (ValueError, TypeError):
        return None

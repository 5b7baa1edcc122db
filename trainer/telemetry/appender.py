"""Appends to a file of a run. What the disk does not take is held in memory, and written later, in order."""

import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from data.durable import opened
from trainer.checkpoint.holder_file import is_at

Say = Callable[[str], None]

HELD_BYTES = 64 << 20  # of each file: some 80,000 records


class Appender:
    """A file of whole entries.

    Where an entry cannot be written (the disk is full or has an error, the file system is read-only), it is held, and
    tried again with the next one. A part of it that was written counts for nothing: the next try writes over it. Beyond
    `HELD_BYTES` the oldest entries are kept, so that what the file holds has no gap before them.
    """

    def __init__(self, path: Path, say: Say) -> None:
        """Append to what is there; the file is made with the first entry, and its folder, which may be removed, never.

        `say` is called once when the file cannot be written, when it can be again, and if what it holds is lost.
        """
        self._path, self._say = path, say
        self._size = path.stat().st_size if path.exists() else 0
        self._file: int | None = None
        self._held: deque[bytes] = deque()
        self._failed, self._dropped = False, 0

    def add(self, entry: bytes) -> None:
        """Write an entry, after those that are held."""
        if sum(map(len, self._held)) + len(entry) <= HELD_BYTES or not self._held:
            self._held.append(entry)
        else:
            self._dropped += 1
        self.flush()

    def flush(self) -> OSError | None:
        """Write what is held; returns why that cannot be done, with the file's name."""
        count = len(self._held)
        try:
            while self._held:
                self._write(self._held[0])
                self._held.popleft()
        except OSError as error:
            if not self._failed:
                self._say(f"{self._path} cannot be written: {error.strerror}; it is held in memory and written later")
            self._failed = True
            return OSError(error.errno, error.strerror, str(self._path))
        if self._failed:
            missing = f"; {self._dropped} more did not fit into memory and are missing" if self._dropped else ""
            self._say(f"{self._path} can be written again: {count} entries that were held are in it{missing}")
            self._failed, self._dropped = False, 0
        return None

    def close(self) -> None:
        """Write what is held, if that can be done."""
        if (error := self.flush()) and self._held:
            self._say(f"{self._path} lacks its last {len(self._held) + self._dropped} entries: {error.strerror}")
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None

    def _write(self, entry: bytes) -> None:
        file, rest = self._opened(), memoryview(entry)
        offset = self._size
        while rest:
            done = os.pwrite(file, rest, offset)
            rest, offset = rest[done:], offset + done
        self._size = offset

    def _opened(self) -> int:
        """The descriptor, of a new file if the last was removed; says if what was written is gone."""
        if self._file is not None and not is_at(self._file, self._path):
            if self._path.exists():  # of the next holder of the run directory, or of an editor
                raise OSError(errno.ESTALE, "another file has taken its place")
            os.close(self._file)
            self._file = None
        if self._file is None:
            self._file = opened(self._path, os.O_WRONLY)
        size = os.fstat(self._file).st_size
        if size < self._size:
            self._say(f"{self._path} was removed or cut short: {self._size - size:,} bytes that were written are gone")
            self._size = size and size + os.pwrite(self._file, b"\n", size)  # what is left may end within a line
        return self._file

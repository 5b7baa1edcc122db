"""A job's log file, from some place on. Standard library only."""

import os
from collections.abc import Iterator
from pathlib import Path

from launch import screen
from launch.feed import BEGIN, Feed, Line, rank_of
from launch.tail import backwards

_BLOCK = 1 << 20  # bytes


class LogFile:
    """What is wanted of a log: a part of it, and then what is added."""

    def __init__(self, file: Path, rank: int | None = None, attempt: int | None = None) -> None:
        """From the file's begin.

        Args:
            file: The log; it need not exist yet.
            rank: Only what this rank wrote, without labels. None: all.
            attempt: What comes up to the begin of another attempt than this. None: all.
        """
        self.file, self.is_over = file, False
        self._rank, self._attempt = rank, attempt
        self._start, self._place, self._skip = 0, 0, 0
        self._end: int | None = None
        self._inode: int | None = None
        self._feed = Feed()
        self._begun: list[int] = []

    @property
    def place(self) -> int:
        """How far it has been read."""
        return self._place

    def seek_attempt(self) -> bool:
        """Begin where the attempt does, if it does."""
        with self.file.open("rb") as stream:
            for offset, line in backwards(stream):
                if (number := begins(line)) is None:
                    continue
                if number == self._attempt:
                    self._start = self._place = offset
                    return True
                self._end = offset
                self._begun.append(number)
        return False

    def known(self) -> str:
        """Which attempts the file holds."""
        return f"holds {', '.join(map(str, reversed(self._begun)))}" if self._begun else "holds none yet"

    def seek_last(self, lines: int) -> None:
        """Begin with the last so many lines."""
        count = 0
        with self.file.open("rb") as stream:
            self._place = self._end if self._end is not None else os.fstat(stream.fileno()).st_size
            for offset, line in backwards(stream, self._start, self._end):
                if more := self._count(line):
                    self._place, count = offset, count + more
                if count >= lines:
                    self._skip = count - lines
                    return

    def more(self) -> Iterator[Line]:
        """What was written since and is there now, in whole lines."""
        try:
            stream = self.file.open("rb")  # anew each time: it may be another file, and NFS asks its server only then
        except FileNotFoundError:
            return
        with stream:
            size = self._notice_change(stream.fileno())
            stream.seek(self._place)
            while not self.is_over and (block := stream.read(min(_BLOCK, size - self._place))):
                self._place += len(block)
                yield from self._wanted(self._feed.take(block))

    def rest(self) -> Iterator[Line]:
        """A last line without an end."""
        yield from self._wanted(self._feed.end())

    def _notice_change(self, descriptor: int) -> int:
        """Begin anew if the file is not what it was; gives its size."""
        status = os.fstat(descriptor)
        if status.st_size < self._place or self._inode not in (None, status.st_ino):
            screen.say(f"{self.file} was cut or replaced; from its begin")
            self._place, self._skip, self._feed = 0, 0, Feed()
        self._inode = status.st_ino
        return status.st_size

    def _wanted(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            if self._attempt and line.begins not in (None, self._attempt):
                self.is_over = True
            if self.is_over:
                return
            if not self._is_wanted(line):
                continue
            if self._skip:
                self._skip -= 1
                continue
            yield line if self._rank is None else line._replace(label=b"")

    def _count(self, line: bytes) -> int:
        """How many wanted lines a line of the file becomes."""
        if self._rank is not None and rank_of(line) != self._rank:
            return 0
        return sum(1 for _ in Feed().take(line + b"\n")) if b"\r" in line else 1

    def _is_wanted(self, line: Line) -> bool:
        return self._rank is None or line.rank == self._rank


def begins(line: bytes) -> int | None:
    """Number of the attempt that begins with this line."""
    return next(Feed().take(line + b"\n")).begins if line.startswith(BEGIN) else None

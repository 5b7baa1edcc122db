"""Reads the lines of a job's log, of all ranks or of one. Standard library only."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from trainer.terminal import remark

_BEGIN = re.compile(rb"launch: attempt ([0-9]{1,9}) ")  # of the line that begins an attempt
_LABEL = re.compile(rb" *(?:([0-9]{1,7})|\[([0-9]{1,7})\]): ?")  # srun's; torchrun's
_LONGEST = 1 << 20  # bytes: a longer line, of a progress bar or binary data, is read in pieces
_WINDOW = 1 << 20  # bytes at the end of the file that are searched first for its last lines


@dataclass(slots=True)
class LogFile:
    """A position in a log, from which more lines are read as they are written."""

    file: Path
    rank: int | None = None
    """Only lines of this rank, without labels. None: all."""
    attempt: int | None = None
    """Only lines of this attempt. None: all."""
    offset: int = 0
    """Bytes read so far."""
    is_over: bool = False
    """Whether the next attempt has begun."""
    _inode: int | None = None
    _bar: tuple[bytes, int | None] | None = None  # label and rank of a line that has not ended

    def seek(self, count: int) -> int:
        """Go to a position before the last `count` lines, 0 for all; returns how many lines to skip from there.

        Raises:
            FileNotFoundError: There is no log yet.
            LookupError: It does not hold the attempt; the message says which it holds.
        """
        with self.file.open("rb") as stream:
            first, end = self._range(stream)
            self.offset, window = first, _WINDOW
            while count:
                start = stream.seek(max(first, end - window))
                start += len(stream.readline(_LONGEST)) if start > first else 0
                self.offset = start
                lines = sum(1 for _ in self.more(is_last=True))
                self.offset, self.is_over, self._bar = start, False, None
                if lines >= count or start == first:
                    return max(0, lines - count)
                window *= 8  # all windows together are little more than the last
        return 0

    def _range(self, stream: BinaryIO) -> tuple[int, int]:
        """Offsets of the first line and of the end of the last."""
        if self.attempt is None:
            return 0, os.fstat(stream.fileno()).st_size
        begun = {int(match[1]): stream.tell() - len(line) for line in _lines(stream) if (match := _BEGIN.match(line))}
        if self.attempt not in begun:
            raise LookupError(f"holds {', '.join(map(str, begun)) or 'none yet'}")
        first = begun[self.attempt]
        return first, min((offset for offset in begun.values() if offset > first), default=stream.tell())

    def more(self, *, is_last: bool = False) -> Iterator[bytes]:
        """New lines that are complete, and drawings of a progress bar; `is_last`: also an incomplete line."""
        try:
            stream = self.file.open("rb")  # each time, as it may be replaced; NFS notices at an open
        except FileNotFoundError:
            return
        own = re.compile(rb" *\[?%d\]?:" % (self.rank or 0))  # a quick test, as most lines are of other ranks
        with stream:
            self._notice_change(os.fstat(stream.fileno()))
            stream.seek(self.offset)
            for line in _lines(stream):
                if self.attempt and (match := _BEGIN.match(line)) and int(match[1]) != self.attempt:
                    self.is_over = True
                    return
                is_incomplete = not (is_last or line.endswith(b"\n") or len(line) == _LONGEST)
                line = line[: line.rfind(b"\r") + 1] if is_incomplete else line
                self.offset += len(line)
                if line and (self.rank is None or own.match(line) or b"\r" in line or self._bar):
                    yield from self._drawings(line)
                if is_incomplete:  # what is written meanwhile belongs to it
                    return

    def _drawings(self, line: bytes) -> Iterator[bytes]:
        """The texts of a line, separated by carriage returns; one without a label is of the rank of the one before."""
        before, drawings = self._bar, line.removesuffix(b"\n").split(b"\r")
        label, rank = before or (b"", None)
        for text in drawings:
            if match := _LABEL.match(text):
                label, rank = match[0], int(match[1] or match[2])
                text = text[match.end() :]
            if self.rank in (None, rank) and (text or not (before or len(drawings) > 1)):
                yield text if self.rank is not None else label + text
        self._bar = None if line.endswith(b"\n") else (label, rank)

    def _notice_change(self, status: os.stat_result) -> None:
        """Start at the beginning if the file was cut or replaced."""
        if status.st_size < self.offset or self._inode not in (None, status.st_ino):
            remark(f"{self.file} was cut or replaced; shown from its beginning")
            self.offset, self._bar = 0, None
        self._inode = status.st_ino


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    return iter(partial(stream.readline, _LONGEST), b"")

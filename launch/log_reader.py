"""A job's log file as lines of text, of all ranks or of one. Standard library only."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from trainer.terminal import remark

_BEGIN = re.compile(rb"launch: attempt ([0-9]{1,9}) ")  # of a line with which the supervisor begins an attempt
_LABEL = re.compile(rb" *(?:([0-9]{1,7})|\[([0-9]{1,7})\]): ?")  # srun's; torchrun's
_LONGEST = 1 << 20  # bytes: what has no line feed for so long, a progress bar or junk, is read in parts
_WINDOW = 1 << 20  # bytes at the file's end in which its last lines are looked for first


@dataclass(slots=True)
class LogFile:
    """The wanted lines of a log: those that are there, and then what is added."""

    file: Path
    rank: int | None = None
    """Only what this rank wrote, without labels. None: all."""
    attempt: int | None = None
    """Only what precedes the begin of another attempt than this. None: all."""
    place: int = 0
    """How far it has been read."""
    is_over: bool = False
    """Whether another attempt has begun."""
    _inode: int | None = None
    _bar: tuple[bytes, int | None] | None = None  # label and rank of a line that has not ended

    def seek(self, count: int) -> int:
        """Go to shortly before the last `count` lines, 0 for all; gives how many lines are to be skipped there.

        Raises:
            FileNotFoundError: There is no log yet.
            LookupError: It does not hold the attempt; the message says which it holds.
        """
        with self.file.open("rb") as stream:
            first, end = self._range(stream)
            self.place, window = first, _WINDOW
            while count:
                start = stream.seek(max(first, end - window))
                start += len(stream.readline(_LONGEST)) if start > first else 0
                self.place = start
                there = sum(1 for _ in self.more(is_last=True))
                self.place, self.is_over, self._bar = start, False, None
                if there >= count or start == first:
                    return max(0, there - count)
                window *= 8  # so that all windows together are little more than the last
        return 0

    def _range(self, stream: BinaryIO) -> tuple[int, int]:
        """Offsets of the first line and behind the last."""
        if self.attempt is None:
            return 0, os.fstat(stream.fileno()).st_size
        begun = {int(match[1]): stream.tell() - len(line) for line in _lines(stream) if (match := _BEGIN.match(line))}
        if self.attempt not in begun:
            raise LookupError(f"holds {', '.join(map(str, begun)) or 'none yet'}")
        first = begun[self.attempt]
        return first, min((place for place in begun.values() if place > first), default=stream.tell())

    def more(self, *, is_last: bool = False) -> Iterator[bytes]:
        """What was written since: lines that have ended, drawings of a progress bar; `is_last`: also a cut line."""
        try:
            stream = self.file.open("rb")  # anew each time: it may be another file, and NFS asks its server only then
        except FileNotFoundError:
            return
        own = re.compile(rb" *\[?%d\]?:" % (self.rank or 0))  # a first look, as most lines are of other ranks
        with stream:
            self._notice_change(os.fstat(stream.fileno()))
            stream.seek(self.place)
            for line in _lines(stream):
                if self.attempt and (match := _BEGIN.match(line)) and int(match[1]) != self.attempt:
                    self.is_over = True
                    return
                is_cut = not (is_last or line.endswith(b"\n") or len(line) == _LONGEST)
                line = line[: line.rfind(b"\r") + 1] if is_cut else line
                self.place += len(line)
                if line and (self.rank is None or own.match(line) or b"\r" in line or self._bar):
                    yield from self._drawings(line)
                if is_cut:  # what is written meanwhile belongs to it
                    return

    def _drawings(self, line: bytes) -> Iterator[bytes]:
        """What a line of the file shows in turn; one drawing without a label is of the rank of that before it."""
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
        """Begin anew if the file is not what it was."""
        if status.st_size < self.place or self._inode not in (None, status.st_ino):
            remark(f"{self.file} was cut or replaced; from its begin")
            self.place, self._bar = 0, None
        self._inode = status.st_ino


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    return iter(partial(stream.readline, _LONGEST), b"")

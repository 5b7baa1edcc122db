"""A job's output as lines of text, each with the rank that wrote it. Standard library only."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from launch.screen import clean
from launch.tail import LONGEST

BEGIN = b"launch: attempt "  # of a line with which the supervisor begins an attempt

_LABEL = re.compile(rb" *(?:([0-9]{1,7})|\[([0-9]{1,7})\]): ?")  # srun's; torchrun's
_NUMBER = re.compile(re.escape(BEGIN) + rb"([0-9]{1,9}) ")
_PIECES = re.compile(rb"(?<=[\r\n])")


class Line(NamedTuple):
    """A line, as it was written; made fit for a terminal only where it is wanted, which takes longest."""

    rank: int | None
    """Who wrote it; None: the job's own."""
    label: bytes
    """What stood before the text."""
    raw: bytes
    """The text, without the end of the line."""

    @property
    def text(self) -> str:
        """The text, without label, for a terminal."""
        return clean(self.raw.decode(errors="replace"))

    @property
    def begins(self) -> int | None:
        """Number of the attempt that begins here."""
        match = _NUMBER.match(self.raw) if self.rank is None else None
        return int(match[1]) if match else None


def rank_of(line: bytes) -> int | None:
    """Who wrote a line; None: the job itself."""
    match = _LABEL.match(line)
    return int(match[1] or match[2]) if match else None


class Feed:
    """Cuts bytes, as they come, into lines; a bar that is drawn over itself becomes a line for each drawing."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._rest = b""
        self._bar: Line | None = None

    def take(self, block: bytes) -> Iterator[Line]:
        """The lines that are whole now."""
        *pieces, self._rest = _PIECES.split(self._rest + block)
        if len(self._rest) >= LONGEST:
            pieces.append(self._rest)
            self._rest = b""
        return filter(None, map(self._line, pieces))

    def end(self) -> Iterator[Line]:
        """What is left without an end."""
        rest, self._rest = self._rest, b""
        return filter(None, map(self._line, [rest] if rest else []))

    def _line(self, piece: bytes) -> Line | None:
        """A line, if there is more to it than the end of a bar."""
        before = self._bar
        label = match[0] if (match := _LABEL.match(piece)) else b""
        raw = piece[len(label) :].rstrip(b"\r\n")
        line = Line(before.rank, before.label, raw) if before and not label else Line(rank_of(label), label, raw)
        is_drawn_over = not piece.endswith(b"\n")
        self._bar = line if is_drawn_over else None
        return line if raw or not (is_drawn_over or before) else None

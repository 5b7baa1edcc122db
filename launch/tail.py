"""Read a file of lines from its end, without reading the rest. Standard library only."""

import os
from collections.abc import Iterator
from typing import BinaryIO

LONGEST = 1 << 20  # bytes: what has no line feed for so long, a progress bar or junk, comes in parts

_BLOCK = 1 << 16


def backwards(stream: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Lines from the last to the first, each with its offset and without its line feed.

    Args:
        stream: An open file; one that is cut meanwhile gives fewer lines.
        start: Offset of the first line.
        end: Offset behind the last line. None: the file's end.
    """
    place = os.fstat(stream.fileno()).st_size if end is None else end
    rest, is_last = b"", True
    while place > start:
        size = min(_BLOCK, place - start)
        place -= size
        stream.seek(place)
        block = stream.read(size)
        if len(block) < size:
            return
        rest, *lines = (block + rest).split(b"\n")
        offset = place + len(rest) + sum(len(line) + 1 for line in lines) + 1
        for line in reversed(lines):
            offset -= len(line) + 1
            if line or not is_last:  # behind the last line feed is no line
                yield offset, line
            is_last = False
        if len(rest) >= LONGEST:
            yield place, rest
            rest, is_last = b"", True
    if rest or not is_last:
        yield start, rest

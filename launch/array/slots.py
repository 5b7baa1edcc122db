"""Turns of local jobs: so many at a time, whatever their number. Standard library only."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.5


@contextmanager
def slot(folder: Path, count: int) -> Generator[None]:
    """Wait for one of `count` places, and hold it; the kernel gives it back when this process dies."""
    while (file := _free(folder, count)) is None:
        time.sleep(_LOOK_S)
    try:
        yield
    finally:
        os.close(file)


def _free(folder: Path, count: int) -> int | None:
    """The first place that nobody holds, held from now on, or None."""
    for number in range(count):
        file = os.open(folder / f"slot-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        else:
            return file
    return None

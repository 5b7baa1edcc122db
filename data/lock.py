"""One writer in a folder at a time. Standard library only."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.output_folder import RefusedError


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a lock, which a killed process gives back.

    Raises:
        RefusedError: Another process holds it.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"{file.parent}: another process is writing this data set; let it finish") from None
        except OSError:
            pass  # no locks on this file system: two writers at once would write the same bytes, or one would fail
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

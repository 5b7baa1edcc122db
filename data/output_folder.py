"""What all that fill a folder share: what they refuse to write to, and one writer at a time. Standard library only."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ADVICE = "name another folder, or delete it"
SHOWN = 10


class RefusedError(ValueError):
    """The options or the folder cannot be used, and nothing was written; the message is for the user."""


def refuse(problems: list[str]) -> None:
    """Go on only where there are none.

    Raises:
        RefusedError: The first of them, one line each.
    """
    if problems:
        more = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise RefusedError("\n".join(problems[:SHOWN] + more))


def refuse_strangers(folder: Path, ours: Iterable[str]) -> None:
    """Go on only where a folder holds nothing but these, or is not there.

    Raises:
        RefusedError: It holds something else.
    """
    strangers = sorted({entry.name for entry in entries(folder)} - set(ours))
    if strangers:
        raise RefusedError(f"{folder} holds {some(strangers)}, no part of this data set; {ADVICE}")


def some(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, if there is one, without hidden files, which are nobody's business."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return [entry for entry in found if not entry.name.startswith(".")]


@contextmanager
def alone(lock_file: Path) -> Iterator[None]:
    """Hold a lock, which the system releases when the process is killed.

    Raises:
        RefusedError: Another process holds it.
    """
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            folder = lock_file.parent
            raise RefusedError(f"{folder}: another process is writing this data set; let it finish") from None
        except OSError:
            pass  # no locks on this file system: two writers at once would write the same bytes, or one would fail
        try:
            yield
        finally:
            lock_file.unlink(missing_ok=True)

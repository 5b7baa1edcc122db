"""What all that fill a folder share: records, refusals, and one writer at a time. Standard library only."""

import fcntl
import grp
import os
import pwd
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data import schema
from data.durable import opened

ADVICE = "name another folder, or delete it"
SHOWN = 10


class RefusedError(ValueError):
    """Options or a folder cannot be used, and nothing was written; the message is for the user."""


class ForeignError(ValueError):
    """A file that another user could have written; the message is for the user."""


def refuse(problems: list[str]) -> None:
    """Raise the first problems, one line each, if there are any.

    Raises:
        RefusedError: There are.
    """
    if problems:
        more = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise RefusedError("\n".join(problems[:SHOWN] + more))


def refuse_strangers(folder: Path, ours: Iterable[str]) -> None:
    """Make sure that a folder, if it exists, holds nothing but files and folders of these names.

    Raises:
        RefusedError: It holds something else.
    """
    strangers = sorted({entry.name for entry in entries(folder)} - set(ours))
    if strangers:
        raise RefusedError(f"{folder} holds {some(strangers)}, no part of this data set; {ADVICE}")


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def exposed(folder: Path) -> list[str]:
    """A warning if others than the folder's owner can write it; a group of the owner's name is the owner's."""
    status = folder.stat()
    if not _is_shared(status):
        return []
    others = "everybody" if status.st_mode & 0o002 else "its group"
    advice = f"to keep them from replacing the run's files: chmod go-w {shlex.quote(str(folder))}"
    return [f"warning: {folder} can be written by {others}; {advice}"]


def read_own(file: Path) -> bytes:
    """The content of a file that nobody but this user and root could have written.

    Raises:
        ForeignError: Others could.
        OSError: It cannot be read.
    """
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:  # by the open folder, as others may rename it meanwhile
        with os.fdopen(os.open(file.name, os.O_RDONLY, dir_fd=folder), "rb") as stream:
            outer, inner = os.fstat(folder), os.fstat(stream.fileno())
            if others := {outer.st_uid, inner.st_uid} - {os.geteuid(), 0}:
                raise ForeignError(f"{file} or its folder belongs to another user (uid {others.pop()}); not used")
            if _is_shared(outer) or (outer.st_mode & 0o077 and _is_shared(inner)):
                fix = f"if what it says is yours: chmod go-w {shlex.quote(str(file.parent))} {shlex.quote(str(file))}"
                raise ForeignError(f"{file} can be written by others; {fix}")
            return stream.read()
    finally:
        os.close(folder)


def _is_shared(status: os.stat_result) -> bool:
    """Whether others than the owner can write a file or folder; a group of the owner's name is the owner's."""
    private = False
    with suppress(KeyError):  # a user or group without a name
        private = grp.getgrgid(status.st_gid).gr_name == pwd.getpwuid(status.st_uid).pw_name
    return bool(status.st_mode & (0o002 if private else 0o022))


def dangling(folder: Path, flag: str = "--output: ") -> list[str]:
    """Why a folder cannot be made: it is or lies below a link to nothing, which the system calls an existing file."""
    links = [each for each in (folder, *folder.parents) if each.is_symlink() and not each.exists()]
    return [f"{flag}{link} is a link to {link.readlink()}, which does not exist; {ADVICE}" for link in links[-1:]]


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Files and folders in a folder, but for hidden ones, which are ignored; none where there is no folder."""
    if not folder.is_dir():
        refuse(dangling(folder, ""))
        return []
    with os.scandir(folder) as everything:
        return [entry for entry in everything if not entry.name.startswith(".")]


def read_record(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file.

    Raises:
        RefusedError: The file holds something else.
    """
    try:
        return dict(schema.parse(file.read_bytes())) if os.path.lexists(file) else None
    except (ValueError, TypeError) as error:
        raise RefusedError(f"{file} cannot be read: {error}; {ADVICE}") from None


def refuse_differences(requested: Mapping[str, object], stored: Mapping[str, object], problem: str) -> None:
    """Make sure that a record says what is requested.

    Raises:
        RefusedError: It says something else; the message is `problem` and each difference.
    """
    differences = [
        f"{key}: asked {value}, found {stored.get(key)}" for key, value in requested.items() if stored.get(key) != value
    ]
    if differences:
        raise RefusedError(f"{problem} ({'; '.join(differences)}); {ADVICE}")


def room_problems(folder: Path, needed: int, files: int) -> list[str]:
    """Why so many bytes in so many files cannot be written below `folder`, one line each."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free, inodes = shutil.disk_usage(existing).free, os.statvfs(existing)
    problems: list[str] = []
    if needed > free:
        problems.append(
            f"{folder}: needs about {needed / 1e9:,.3f} GB, and its disk has {free / 1e9:,.3f} GB free; "
            "make room, or name a folder on another disk"
        )
    if inodes.f_files and files > inodes.f_favail:  # some file systems count none
        problems.append(
            f"{folder}: needs {files:,} files, and its file system has room for {inodes.f_favail:,}; "
            "name a folder on another one"
        )
    return problems


@contextmanager
def alone(lock_file: Path) -> Iterator[None]:
    """Hold a lock, which the system releases when the process is killed.

    Raises:
        RefusedError: Another process holds it.
    """
    with os.fdopen(opened(lock_file, os.O_WRONLY), "w") as lock:
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

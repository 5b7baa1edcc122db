"""Files that are there whole or not at all, also after a power cut. Standard library only.

None is written through a symbolic link: others who can write the folder could have a file elsewhere overwritten by it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

_OLD_S = 24 * 3600.0  # no file takes so long to write


def flush(stream: IO[Any]) -> None:
    """Put what was written onto the disk; a file that is renamed before that may be empty after a power cut."""
    stream.flush()
    os.fsync(stream.fileno())


def opened(path: Path, flags: int, mode: int = 0o644) -> int:
    """A descriptor of a file to write to, created if missing.

    Raises:
        OSError: Also where it is a symbolic link.
    """
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, mode)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the system name the file, which those of open files do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def whole(path: Path, *, flushed: bool = True, shared: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes `path` where the block ends without an error, and is removed otherwise.

    The next writer removes what a killed one leaves, of a `shared` file if it is a day old.

    Args:
        path: The file.
        flushed: Put it onto the disk before it is renamed.
        shared: Other processes may write the same file now: each has a temporary file of its own.

    Raises:
        OSError: Names `path`, which the error of a full disk does not.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp" if shared else f".{path.name}.tmp")
    try:
        for old in path.parent.glob(f".{escape(path.name)}.*.tmp") if shared else ():
            with suppress(OSError):  # its writer has ended meanwhile
                if time.time() - old.lstat().st_mtime > _OLD_S:
                    old.unlink()
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as stream:
            yield stream
            if flushed:
                flush(stream)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        named = error.filename if error.filename not in (None, str(temporary)) else str(path)
        raise OSError(error.errno, error.strerror or str(error), named) from None


def replace(path: Path, content: bytes, *, flushed: bool = False) -> None:
    """Write a whole file as `whole` does; without `flushed`, a power cut may leave it empty.

    Raises:
        OSError: Names the file.
    """
    with whole(path, flushed=flushed) as stream:
        stream.write(content)

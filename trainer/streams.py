"""Output that cannot end a run: what cannot be written is dropped. Standard library only.

The reader of a pipe may die, a terminal be closed, the disk of a log be full. Nothing of that concerns the training.
"""

import io
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lossy(io.RawIOBase):
    """Writes to a file descriptor, at once; drops what cannot be written, and reports the first failure elsewhere."""

    def __init__(self, name: str, descriptor: int, other: int) -> None:
        """`other` is the descriptor that the failure is reported to."""
        self._name, self._descriptor, self._other = name, descriptor, other
        self.failure: str | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        rest = memoryview(data).cast("B")
        count = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._report(error)
        return count

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def _report(self, error: OSError) -> None:
        if self.failure:
            return
        self.failure = f"{self._name} cannot be written: {error.strerror}"
        with suppress(OSError):
            os.write(self._other, f"{self.failure}; it is dropped\n".encode())


def lost() -> list[str]:
    """Which of stdout and stderr could not be written, and why."""
    buffers = (getattr(stream, "buffer", None) for stream in (sys.stdout, sys.stderr))
    return [buffer.failure for buffer in buffers if isinstance(buffer, _Lossy) and buffer.failure]


def protect_for(verbs: Collection[str]) -> None:
    """`protect` where one of these was typed, and not for its help."""
    if {*sys.argv[1:2]} & {*verbs} and not {"-h", "--help"} & {*sys.argv}:
        protect()


def protect() -> None:
    """Let no write to stdout or stderr fail from here on, whatever becomes of their readers; closed ones go nowhere."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the run's own files would get this number, and prints would go to them
            os.open(os.devnull, os.O_RDWR)
    for name, descriptor, other in (("stdout", 1, 2), ("stderr", 2, 1)):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue  # a program that embeds the command has its own
        with suppress(OSError, AttributeError):  # None where it was closed
            stream.flush()
        encoding = getattr(stream, "encoding", None) or "utf-8"
        lossy = io.TextIOWrapper(_Lossy(name, descriptor, other), encoding, "backslashreplace", write_through=True)  # pyright: ignore[reportArgumentType] - as Python's own, unbuffered
        setattr(sys, name, lossy)

"""A small file that says which images a loader is decoding, in case the process dies of a signal. Loads no torch."""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from data import schema
from data.durable import opened
from data.plan.samples import Samples

SCHEMA = 1
SLOTS = 16  # batches: more than any backend works on

_HEAD = struct.Struct("<4i")  # schema, most images in a batch, batches that came out, unused
_SLOT = struct.Struct("<2i")  # number of a batch, from 1, and of its images, whose rows in the manifest follow


class Note:
    """The batches that a backend has begun and not finished.

    Written by one system call at the beginning and the end of a batch, some microseconds. A memory map would save
    these, but a page that cannot be stored (full disk, lost file server) ends the process by SIGBUS; a write fails.
    """

    def __init__(self, file: Path, most: int) -> None:
        """Create an empty note in `file`, for batches of at most `most` images.

        Raises:
            OSError: The file cannot be written.
        """
        self._file, self._begun, self._done = file, 0, 0
        self._slot = _SLOT.size + 4 * most
        self._descriptor = opened(file, os.O_WRONLY | os.O_TRUNC)
        os.pwrite(self._descriptor, _HEAD.pack(SCHEMA, most, 0, 0), 0)
        os.ftruncate(self._descriptor, _HEAD.size + SLOTS * self._slot)

    def follow(self, samples: Iterator[Samples]) -> Iterator[Samples]:
        """The same batches, each recorded before it is yielded; those of an earlier call are dropped."""
        self._done = self._begun
        for batch in samples:
            self._begun += 1
            rows = batch.indices.astype("<i4").tobytes()
            offset = _HEAD.size + self._begun % SLOTS * self._slot
            self._write(_SLOT.pack(self._begun, len(batch.indices)) + rows, offset)
            yield batch

    def finished(self) -> None:
        """Record that the oldest batch is decoded."""
        self._done += 1
        self._write(struct.pack("<i", self._done), 8)

    def remove(self) -> None:
        """Remove the file, once nothing is decoded any more."""
        remove(self._descriptor, self._file)
        self._descriptor = -1

    def _write(self, content: bytes, offset: int) -> None:
        with suppress(OSError):  # then a batch is not named after a crash
            os.pwrite(self._descriptor, content, offset)


def remove(descriptor: int, file: Path) -> None:
    """Close a file and remove it, unless another process has put its own in its place."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            file.unlink()
    with suppress(OSError):
        os.close(descriptor)


def read(file: Path) -> list[int]:
    """Rows of the manifest in batches that were not finished, in the order in which they were begun.

    Raises:
        ValueError: It is no note, or a newer version wrote it.
        OSError: It cannot be read.
    """
    numbers = np.frombuffer(file.read_bytes(), "<i4")
    version, most, done, _ = numbers[:4].tolist()
    schema.check(version, SCHEMA, file)
    slots = sorted(numbers[4:].reshape(SLOTS, 2 + most).tolist())
    return list(dict.fromkeys(row for number, count, *rows in slots if number > done for row in rows[:count]))

"""Which images a loader is decoding, in a small file that outlives a process that dies of a signal. Loads no torch."""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from data import schema
from data.plan.samples import Samples

SCHEMA = 1
SLOTS = 16  # batches: more than any backend has in hand

_HEAD = struct.Struct("<4i")  # schema, most images in a batch, batches that came out, unused
_SLOT = struct.Struct("<2i")  # number of a batch, from 1, and of its images, whose rows in the manifest follow


class Note:
    """The batches that a backend has begun and not yet given back.

    Written by one system call at each end of a batch, some microseconds. A memory map would save these, but a page that
    cannot be stored (full disk, lost file server) ends the process by SIGBUS, where a write merely fails.
    """

    def __init__(self, file: Path, most: int) -> None:
        """Begin an empty note.

        Args:
            file: Where it lies.
            most: Most images in a batch.

        Raises:
            OSError: The file cannot be written.
        """
        self._file, self._begun, self._done = file, 0, 0
        self._slot = _SLOT.size + 4 * most
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.pwrite(self._descriptor, _HEAD.pack(SCHEMA, most, 0, 0), 0)
        os.ftruncate(self._descriptor, _HEAD.size + SLOTS * self._slot)

    def follow(self, samples: Iterator[Samples]) -> Iterator[Samples]:
        """The same batches, each written down before it is handed on; those of an earlier call are given up."""
        self._done = self._begun
        for batch in samples:
            self._begun += 1
            rows = batch.indices.astype("<i4").tobytes()
            place = _HEAD.size + self._begun % SLOTS * self._slot
            self._write(_SLOT.pack(self._begun, len(batch.indices)) + rows, place)
            yield batch

    def came_out(self) -> None:
        """The oldest batch is decoded."""
        self._done += 1
        self._write(struct.pack("<i", self._done), 8)

    def remove(self) -> None:
        """End the note; nothing may be decoded any more."""
        remove(self._descriptor, self._file)
        self._descriptor = -1

    def _write(self, content: bytes, place: int) -> None:
        with suppress(OSError):  # a batch that is not written down is not named
            os.pwrite(self._descriptor, content, place)


def remove(descriptor: int, file: Path) -> None:
    """Close a file and remove it, unless another process has put its own in its place."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            file.unlink()
    with suppress(OSError):
        os.close(descriptor)


def read(file: Path) -> list[int]:
    """Rows of the manifest that were at work, in the order in which they were begun.

    Raises:
        ValueError: It is no note, or a newer version wrote it.
        OSError: It cannot be read.
    """
    numbers = np.frombuffer(file.read_bytes(), "<i4")
    version, most, done, _ = numbers[:4].tolist()
    schema.check(version, SCHEMA, file)
    slots = sorted(numbers[4:].reshape(SLOTS, 2 + most).tolist())
    return list(dict.fromkeys(row for number, count, *rows in slots if number > done for row in rows[:count]))

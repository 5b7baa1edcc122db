"""Decodes and hashes the images of a list that was made from their headers. Loads no torch."""

import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from data import durable
from data.catalog import manifest
from data.catalog.listing import HASH_BYTES, Entry, Listing, digest
from data.catalog.manifest import Bytes, Manifest
from data.types import Progress, unwatched
from data.verify.findings import CHUNK
from data.verify.inspection import Chunk, Facts, Inspector
from data.workers import each

PAUSE = 3  # times as long as the reading before it: of what storage and a core can do, a quarter is taken from training
PER_WORKER = 16  # chunks, which are read in the time in which a worker process starts


def progress_file(file: Path) -> Path:
    """Where the hashes for a manifest are stored until all are known."""
    return file.with_name(f".{file.stem}.hashes")


def slowly(files: list[tuple[Path, Path]]) -> None:
    """Hash the images of some manifests behind a training run; each comes with the folder of its images.

    Raises:
        DamagedManifestError, OSError: A manifest or hash cannot be read or written.
    """
    for file, root in files:
        images, begun = manifest.load(file, root), time.monotonic()

        def pause(*_: int) -> None:
            nonlocal begun
            time.sleep(PAUSE * (time.monotonic() - begun))
            begun = time.monotonic()

        if not images.hashed:
            hashed(images, progress_file(file), 1, pause)


def hashed(images: Manifest, stored: Path, workers: int, progress: Progress = unwatched) -> Manifest:
    """The same list with hashes; those of images that cannot be decoded, or not as they were listed, are zero.

    Args:
        images: The list.
        stored: The file in which hashes are saved; the same call goes on from there.
        workers: Processes that read; 1 reads in this process.
        progress: Counts the images. What it raises ends the call.

    Raises:
        OSError: The file cannot be read or written.
    """
    inspector, total = Inspector(Listing(images.root, images.classes, [], images.archives)), len(images)
    with durable.naming(stored), os.fdopen(durable.opened(stored, os.O_RDWR), "r+b", buffering=0) as file:
        hashes = _stored(file, images)
        parts = [range(total)[first : first + CHUNK] for first in range(0, total, CHUNK)]
        left = [rows for rows in parts if not hashes[rows.start : rows.stop].any(1).all()]
        done, workers = total - sum(map(len, left)), min(workers, 1 + len(left) // PER_WORKER)
        with closing(each(inspector, (_chunk(images, rows) for rows in left), workers)) as chunks:
            for start, findings in chunks:
                for row, found in enumerate(findings, start):
                    size = images.sizes[row], images.widths[row], images.heights[row]
                    if isinstance(found, Facts) and (found.size, found.width, found.height) == size:
                        hashes[row] = np.frombuffer(found.digest, np.uint8)
                file.seek(HASH_BYTES * (1 + start))
                file.write(hashes[start : start + CHUNK].tobytes())
                progress(done := done + len(findings), total)
    return replace(images, hashes=hashes)


def _stored(file: IO[bytes], images: Manifest) -> Bytes:
    """(N, 16) the hashes in a file, zero where none is known: none in a file that belongs to another list."""
    head = digest(digest(images.names.tobytes()) + digest(images.sizes.tobytes()))
    known = bytearray(file.read() if file.read(HASH_BYTES) == head else b"")
    if not known:
        file.truncate(0)
        file.seek(0)
        file.write(head)
    known = known[: len(known) // HASH_BYTES * HASH_BYTES]  # the last may have been cut short
    return np.frombuffer(known.ljust(HASH_BYTES * len(images), b"\0"), np.uint8).reshape(-1, HASH_BYTES)


def _chunk(images: Manifest, rows: range) -> Chunk:
    """The images of these rows, none of them known."""
    columns = (images.targets, images.archive, images.offsets, images.sizes)
    entries = zip(map(images.name, rows), *(column[rows.start : rows.stop].tolist() for column in columns), strict=True)
    places = [
        Entry(target, name, *((archive, offset, size) if images.archives else ()))
        for name, target, archive, offset, size in entries
    ]
    unknown = np.full(len(rows), -1)
    return Chunk(rows.start, places, unknown, unknown)

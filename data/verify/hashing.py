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

PER_WORKER = 16  # chunks, which are read in the time in which a worker process starts
PAUSE = 3  # times as long as the reading before it: of what storage and a core can do, a quarter is taken from training


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
            hashed(images, progress_file(file), workers=1, progress=pause)


def hashed(images: Manifest, stored: Path, *, workers: int, progress: Progress = unwatched) -> Manifest:
    """The same list with hashes; those of images that cannot be decoded, or not as they were listed, are zero.

    Args:
        images: The list.
        stored: The file in which hashes are saved; the same call goes on from there.
        workers: Processes that read; 1 reads in this process.
        progress: Counts the images. What it raises ends the call.

    Raises:
        OSError: The file cannot be read or written.
    """
    inspector = Inspector(Listing(images.root, images.classes, [], images.archives))
    with durable.naming(stored), os.fdopen(durable.opened(stored, os.O_RDWR), "r+b", buffering=0) as file:
        hashes = _stored(file, images)
        starts = [start for start in range(0, len(images), CHUNK) if not hashes[start : start + CHUNK].any(1).all()]
        workers = min(workers, 1 + len(starts) // PER_WORKER)
        done = len(images) - sum(min(CHUNK, len(images) - start) for start in starts)
        with closing(each(inspector, (_chunk(images, start) for start in starts), workers)) as chunks:
            for start, findings in chunks:
                for row, finding in enumerate(findings, start):
                    if isinstance(finding, Facts) and _is_listed(finding, images, row):
                        hashes[row] = np.frombuffer(finding.digest, np.uint8)
                file.seek(HASH_BYTES * (1 + start))
                file.write(hashes[start : start + CHUNK].tobytes())
                done += len(findings)
                progress(done, len(images))
    return replace(images, hashes=hashes)


def _stored(file: IO[bytes], images: Manifest) -> Bytes:
    """(N, 16) the hashes in a file, zero where none is known: none in a file that belongs to another list."""
    head, hashes = digest(digest(images.names.tobytes()) + digest(images.sizes.tobytes())), bytearray()
    if file.read(HASH_BYTES) == head:
        hashes += file.read()
    else:
        file.truncate(0)
        file.seek(0)
        file.write(head)
    hashes = hashes[: len(hashes) // HASH_BYTES * HASH_BYTES]  # the last may have been cut short
    return np.frombuffer(hashes.ljust(HASH_BYTES * len(images), b"\0"), np.uint8).reshape(-1, HASH_BYTES)


def _chunk(images: Manifest, start: int) -> Chunk:
    """The images from this row on, none of them known."""
    rows = range(start, min(start + CHUNK, len(images)))
    unknown = np.full(len(rows), -1)
    return Chunk(start, [_entry(images, row) for row in rows], unknown, unknown)


def _entry(images: Manifest, row: int) -> Entry:
    target, name = int(images.targets[row]), images.name(row)
    if not images.archives:
        return Entry(target, name)
    return Entry(target, name, int(images.archive[row]), int(images.offsets[row]), int(images.sizes[row]))


def _is_listed(found: Facts, images: Manifest, row: int) -> bool:
    return (found.size, found.width, found.height) == (images.sizes[row], images.widths[row], images.heights[row])

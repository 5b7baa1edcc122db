"""Writes one tar shard and its index, and reads them back; runs in a worker process."""

import errno
import hashlib
import os
import signal
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from data.catalog import archive
from data.catalog import listing as listings
from data.catalog.archive import Member
from data.catalog.decoding import decoding
from data.catalog.listing import Entry, Listing, digest
from data.catalog.pack_record import Packed, PackOptions
from data.durable import flush, replace, whole
from data.pack.recode import Prepared, prepared
from data.types import BrokenImageError
from data.verify.inspection import decode

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)  # of an archive
INDEX_VERSION = "v1.1"  # of DALI's index files; v1.2 adds names, which must then have no blanks
FAILING = "is the disk failing?"


@dataclass(frozen=True, slots=True)
class Job:
    """What all shards of a split have in common."""

    source: Listing
    """Without its entries, as it is sent to a process with every shard."""
    folder: Path
    """Of the shards."""
    options: PackOptions


class Plan(NamedTuple):
    """One shard to be written."""

    name: str
    entries: list[tuple[str, Entry]]
    """Each with the name of its sample in the archive."""
    known: Packed | None
    """Its record, if it was written before."""


class Expected(NamedTuple):
    """What an image must be when the shard is read back."""

    name: str
    digest: bytes
    size: tuple[int, int] | None
    """Pixels, width and height, where it was resized."""


def pack(job: Job, plan: Plan) -> tuple[Packed, bool]:
    """Write a shard, unless it is complete on disk; returns what it holds, and whether it was written now.

    Raises:
        OSError: It cannot be written, or reading it back gave other bytes.
    """
    path = job.folder / plan.name
    if plan.known and path.exists() and _digest(path) == plan.known.digest and path.with_suffix(".idx").exists():
        return plan.known, False
    with warnings.catch_warnings(), whole(path) as file:
        warnings.simplefilter("ignore")  # Pillow's, of EXIF and the like, which concern no pixel
        expected, broken = _write(job, plan, file)
        written = Path(file.name)
        replace(path.with_suffix(".idx"), checked(written, expected).encode())
        packed = Packed(
            name=plan.name,
            images=len(expected),
            resized=sum(image.size is not None for image in expected),
            bytes=written.stat().st_size,
            digest=_digest(written),
            broken=tuple(broken),
        )
    return packed, True


def image(source: Listing, entry: Entry, options: PackOptions) -> Prepared:
    """Read an image and encode it as it is to be stored.

    Raises:
        Exception: Of any kind, as Pillow's parsers raise them; it cannot be read or decoded.
    """
    content = listings.read(source.path(entry), entry.offset, entry.size)
    return prepared(content, PurePosixPath(entry.name).suffix, source.raw, options)


def _write(job: Job, plan: Plan, file: IO[bytes]) -> tuple[list[Expected], list[tuple[str, str]]]:
    expected: list[Expected] = []
    broken: list[tuple[str, str]] = []
    for sample, entry in plan.entries:
        _raise_interrupt()
        try:
            with decoding():
                stored = image(job.source, entry, job.options)
        except BrokenImageError as error:
            broken.append((entry.name, str(error)))
            continue
        expected.append(_add(file, sample, entry.target, stored))
    file.write(END)
    flush(file)
    _drop_from_cache(file)
    return expected, broken


def _add(file: IO[bytes], sample: str, target: int, stored: Prepared) -> Expected:
    name = sample + stored.suffix
    file.write(member(name, stored.content))
    file.write(member(f"{sample}.cls", str(target).encode()))
    return Expected(name, digest(stored.content), stored.size if stored.resized else None)


def checked(path: Path, expected: list[Expected]) -> str:
    """Read an archive back and compare it with what was written; returns its index for DALI.

    Raises:
        OSError: An image differs, or the archive is damaged.
    """
    lines: list[str] = []
    try:
        with path.open("rb") as stream:
            members = archive.members(stream, str(path), path.stat().st_size)
            for wanted, (image, label) in zip(expected, zip(members, members, strict=True), strict=True):
                _check(stream, image, wanted)
                extension = PurePosixPath(image.name).suffix[1:]
                lines.append(f"{extension} {image.offset} {image.size} cls {label.offset} {label.size}\n")
    except ValueError as error:  # another number of files, or a damaged archive
        raise OSError(errno.EIO, f"reading its files back gave other bytes; {FAILING}") from error
    return f"{INDEX_VERSION} {len(lines)}\n{''.join(lines)}"


def _check(stream: IO[bytes], image: Member, wanted: Expected) -> None:
    stream.seek(image.offset)
    content = stream.read(image.size)
    sound = image.name == wanted.name and digest(content) == wanted.digest
    if not sound or (wanted.size and decode(content)[:2] != wanted.size):
        raise OSError(errno.EIO, f"reading {wanted.name} back gave other bytes; {FAILING}")


def member(name: str, content: bytes) -> bytes:
    """A file as an archive holds it: the same bytes whoever writes it, and when."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return b"".join((header, content, bytes(-len(content) % BLOCK)))


def _raise_interrupt() -> None:
    """Workers block Ctrl-C, which their parent handles; but a shard takes too long to be finished after one."""
    if signal.SIGINT in signal.sigpending():
        raise KeyboardInterrupt


def _drop_from_cache(file: IO[bytes]) -> None:
    """The check that follows then reads the disk, and not the memory that was written from."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()

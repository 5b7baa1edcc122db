"""Writes one tar shard and its index, and reads them back. Runs in a process of its own."""

import errno
import hashlib
import os
import signal
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from data.catalog import archive
from data.catalog import listing as listings
from data.catalog.archive import Member
from data.catalog.listing import Entry, Listing, digest
from data.catalog.pack_record import Packed, PackOptions
from data.decoding import decoding
from data.durable import flush
from data.output_folder import replace
from data.pack.recode import Prepared, prepared
from data.types import BrokenImageError
from data.verify.inspection import decode

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)  # of an archive
INDEX_VERSION = "v1.1"  # of DALI's index files; v1.2 adds names, which must then have no blanks
FAILING = "is the disk failing?"


@dataclass(frozen=True, slots=True)
class Job:
    """What all shards of a split share."""

    source: Listing
    """Without its entries, as it goes to every process for every shard."""
    folder: Path
    """Where the shards go."""
    options: PackOptions


class Plan(NamedTuple):
    """One shard to be written."""

    name: str
    entries: list[tuple[str, Entry]]
    """Each with the name of its sample in the archive."""
    known: Packed | None
    """What is on record, if it was written before."""


class Meant(NamedTuple):
    """What an image in the shard must turn out to be."""

    name: str
    digest: bytes
    size: tuple[int, int] | None
    """Pixels, width and height, where it was encoded anew."""


def pack(job: Job, plan: Plan) -> tuple[Packed, bool]:
    """Write a shard, unless it lies there whole; tells whether it had to.

    Raises:
        OSError: It cannot be written, or is not on the disk what was written.
    """
    path = job.folder / plan.name
    if plan.known and path.exists() and _digest(path) == plan.known.digest and path.with_suffix(".idx").exists():
        return plan.known, False
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with warnings.catch_warnings(), _named(path):
            warnings.simplefilter("ignore")  # Pillow's, of EXIF and the like: no matter of pixels
            meant, broken = _write(job, plan, temporary)
            index = checked(temporary, meant)
            replace(path.with_suffix(".idx"), index.encode())
            packed = Packed(
                name=plan.name,
                images=len(meant),
                resized=sum(image.size is not None for image in meant),
                bytes=temporary.stat().st_size,
                digest=_digest(temporary),
                broken=tuple(broken),
            )
            temporary.replace(path)
            return packed, True
    finally:
        temporary.unlink(missing_ok=True)


def image(source: Listing, entry: Entry, options: PackOptions) -> Prepared:
    """One image as it is to be stored.

    Raises:
        Exception: Of any kind, as Pillow's parsers raise them; it cannot be read or decoded.
    """
    content = listings.read(source.path(entry), entry.offset, entry.size)
    return prepared(content, PurePosixPath(entry.name).suffix, source.raw, options)


def _write(job: Job, plan: Plan, path: Path) -> tuple[list[Meant], list[tuple[str, str]]]:
    meant: list[Meant] = []
    broken: list[tuple[str, str]] = []
    with path.open("wb") as file:
        for sample, entry in plan.entries:
            _heed_interrupt()
            try:
                with decoding():
                    stored = image(job.source, entry, job.options)
            except BrokenImageError as error:
                broken.append((entry.name, str(error)))
                continue
            meant.append(_add(file, sample, entry.target, stored))
        file.write(END)
        flush(file)
        _forget(file)
    return meant, broken


def _add(file: IO[bytes], sample: str, target: int, stored: Prepared) -> Meant:
    name = sample + stored.suffix
    file.write(member(name, stored.content))
    file.write(member(f"{sample}.cls", str(target).encode()))
    return Meant(name, digest(stored.content), stored.size if stored.resized else None)


def checked(path: Path, meant: list[Meant]) -> str:
    """The index of an archive whose images are found to be what they are meant to be.

    Raises:
        OSError: One is not, or the archive is damaged.
    """
    lines: list[str] = []
    try:
        with path.open("rb") as stream:
            members = archive.members(stream, str(path), path.stat().st_size)
            for wanted, (image, label) in zip(meant, zip(members, members, strict=True), strict=True):
                _check(stream, image, wanted)
                extension = PurePosixPath(image.name).suffix[1:]
                lines.append(f"{extension} {image.offset} {image.size} cls {label.offset} {label.size}\n")
    except ValueError as error:  # another number of files, or a damaged archive
        raise OSError(errno.EIO, f"its files are not on the disk what was written; {FAILING}") from error
    return f"{INDEX_VERSION} {len(lines)}\n{''.join(lines)}"


def _check(stream: IO[bytes], image: Member, wanted: Meant) -> None:
    stream.seek(image.offset)
    content = stream.read(image.size)
    sound = image.name == wanted.name and digest(content) == wanted.digest
    if not sound or (wanted.size and decode(content)[:2] != wanted.size):
        raise OSError(errno.EIO, f"{wanted.name} is not on the disk what was written; {FAILING}")


def member(name: str, content: bytes) -> bytes:
    """A file as it lies in an archive, the same bytes whoever writes it, and when."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return b"".join((header, content, bytes(-len(content) % BLOCK)))


def _heed_interrupt() -> None:
    """Ctrl-C is blocked in workers, since their parent deals with it; but a shard is too long to finish after one."""
    if signal.SIGINT in signal.sigpending():
        raise KeyboardInterrupt


def _forget(file: IO[bytes]) -> None:
    """Have the check that follows read the disk, and not the memory that was written from."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the name of the file, which a full disk does not tell."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from None

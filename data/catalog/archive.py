"""Checks that archives are complete and safe to unpack. Standard library only."""

import gzip
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from typing import IO, NamedTuple, Self

AGAIN = "copy or download it again"
# of gzip files, which may unpack to a thousand times their size: no archive that is prepared here comes near
MOST_MEMBER, MOST_BYTES, MOST_BEHIND_MB = 1 << 28, 10 << 30, 64
MOST_HEADER = 1 << 20  # bytes of a long name or other attributes, which `tarfile` reads at once
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class ArchiveError(ValueError):
    """An archive that cannot be used; the message names it, and the member if one is the cause."""


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    """Path in the archive, without a leading `./`."""
    offset: int
    """Its first byte in the stream that the archive was read from."""
    size: int
    """Bytes."""


def members(stream: IO[bytes] | gzip.GzipFile, label: str, end: int | None = None) -> Generator[Member]:
    """List the files of the tar archive that starts at the stream's position, without folders.

    Reads only headers, and seeks forwards only. The caller may read the current member from the stream.

    Args:
        stream: Offsets count from its beginning.
        label: Name of the archive in messages.
        end: Offset behind the archive's last byte; None: the end of the stream.

    Raises:
        ArchiveError: It is truncated or damaged, or a member has a name twice, would be unpacked outside of the folder,
            or is a link, a device, or anything else than a file.
    """
    names: set[str] = set()
    try:
        with tarfile.TarFile(fileobj=stream, tarinfo=_StrictHeader) as tar:
            while (header := tar.next()) is not None:
                _check_size(header, label, end)
                if not header.isdir():
                    yield _safe(header, names, label)
            if end is not None and tar.offset + tarfile.BLOCKSIZE > end:
                raise ArchiveError(f"{label}: the mark of its end is missing, so files may be; {AGAIN}")
    except ArchiveError:
        raise
    except (tarfile.TarError, ValueError, RecursionError) as error:  # the last two of headers that no program writes
        remedy = AGAIN if names or end is None else f"unpack it if it is compressed, or {AGAIN}"
        raise ArchiveError(f"{label}: no tar archive, or a damaged one: {error}; {remedy}") from None


def plain(path: Path) -> Generator[Member]:
    """List the files of a tar archive that is not compressed.

    Raises:
        ArchiveError: It cannot be used.
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as stream:  # a buffer would read 8 KB for each header of 512 bytes
        yield from members(stream, str(path), path.stat().st_size)


@contextmanager
def unzipped(path: Path) -> Iterator[gzip.GzipFile]:
    """Open the contents of a gzip file as a stream, in which seeking backwards is slow.

    Raises:
        ArchiveError: It is truncated or damaged, which shows only once it was read to its end.
        OSError: It cannot be read.
    """
    try:
        with gzip.open(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{path}: no gzip file, or a damaged one: {error}; {AGAIN}") from None


def drain(stream: gzip.GzipFile) -> None:
    """Read to the end, where gzip's checksum is.

    Raises:
        ArchiveError: It goes on for longer than any program fills up an archive.
    """
    for _ in range(MOST_BEHIND_MB):
        if not stream.read(1 << 20):
            return
    raise ArchiveError(f"{stream.name}: goes on behind the end of the archive; {AGAIN}")


class _StrictHeader(tarfile.TarInfo):
    """`tarfile` takes a damaged or missing header for the archive's end; here only the end-of-archive block is one."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type not in tarfile.SUPPORTED_TYPES[:8] and header.size > MOST_HEADER:
            raise HeaderError(f"{header.size:,} bytes of attributes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:  # that block
            raise
        except HeaderError as error:
            raise ReadError(str(error)) from None


def _check_size(header: tarfile.TarInfo, label: str, end: int | None) -> None:
    last = header.offset_data + header.size
    if header.size < 0:
        raise ReadError(f"{header.name} has a negative size")
    if end is not None and last > end:
        raise ArchiveError(f"{label}: {header.name}: the archive ends before this file does; {AGAIN}")
    if end is None and (header.size > MOST_MEMBER or last > MOST_BYTES):
        raise ArchiveError(f"{label}: {header.name}: unpacks to more than any such archive; {AGAIN}")


def _safe(header: tarfile.TarInfo, names: set[str], label: str) -> Member:
    name = header.name.removeprefix("./")
    if not header.isreg() or header.issparse():
        raise ArchiveError(f"{label}: {header.name} is {KINDS.get(header.type, 'something else than a file')}; refused")
    if not {"", ".", ".."}.isdisjoint(name.split("/")):  # an absolute path has an empty part before its first /
        raise ArchiveError(f"{label}: {header.name} leads out of the folder that it would be unpacked to; refused")
    if name in names:
        raise ArchiveError(f"{label}: {header.name} is in it twice; refused")
    names.add(name)
    return Member(name, header.offset_data, header.size)

"""Reads, hashes and decodes one image to its last byte. Loads no torch, which every worker would load too."""

import os
import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from data.catalog.decoding import decoding
from data.catalog.formats import FORMATS, MODES, RAW, RGB, number
from data.catalog.listing import HASH_BYTES, Entry, Listing, digest
from data.types import BrokenImageError

HEADER = 1 << 13  # bytes, which hold the headers of nearly all images
THREADS = 16  # that read headers: on a network file system each waits most of the time, on a local one they cost little


class Facts(NamedTuple):
    """What a manifest says of a usable image, in the same units."""

    size: int
    mtime: int
    width: int
    height: int
    format: int
    mode: int
    orientation: int
    digest: bytes


class Chunk(NamedTuple):
    """Consecutive images of a listing."""

    start: int
    """Index of the first one in the listing."""
    entries: Sequence[Entry]
    """Where they are stored."""
    sizes: NDArray[np.int64]
    """Bytes of each at an earlier scan; -1 where there was none."""
    mtimes: NDArray[np.int64]
    """Time of the last change of each file then, ns since 1970."""


Finding = Facts | str | None
"""The facts, or why the image is broken, or None where it has not changed."""


@dataclass(frozen=True, slots=True)
class Inspector:
    """Inspects images of one split, in a worker process."""

    listing: Listing
    """The split, without its entries."""
    whole: bool = True
    """Decode each image to its last byte, and hash it; otherwise no more than its header is read if that can be
    understood, and the hash is zero."""

    def __call__(self, chunk: Chunk) -> tuple[int, list[Finding]]:
        """The chunk's start, and one finding for each of its images."""
        known = list(zip(chunk.entries, chunk.sizes.tolist(), chunk.mtimes.tolist(), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and large images, which can be decoded
            if self.whole:
                return chunk.start, [self._finding(*each) for each in known]
            findings: list[Finding] = [None] * len(known)

            def inspect(first: int) -> None:
                findings[first::THREADS] = [self._finding(*each) for each in known[first::THREADS]]

            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(inspect, range(THREADS)))
            return chunk.start, findings

    def _finding(self, entry: Entry, size: int, mtime: int) -> Finding:
        path = self.listing.path(entry)
        try:
            with decoding():
                if size >= 0 and _state(path.stat(), entry) == (size, mtime):
                    return None
                if not self.whole and (facts := _header(path, entry)):
                    return facts
                content, changed = _read(path, entry)
                return Facts(len(content), changed, *self._decode(content), digest(content))
        except BrokenImageError as error:
            return str(error)

    def _decode(self, content: bytes) -> tuple[int, int, int, int, int]:
        if not content:
            raise ValueError("the file is empty")
        raw = self.listing.raw
        return decode(content) if raw is None else (*_raw_size(content, raw), RAW, RGB, 0)


def decode(content: bytes) -> tuple[int, int, int, int, int]:
    """Decode an encoded image to its last byte; returns width, height, format, mode and orientation.

    Raises:
        Exception: Of any kind, as Pillow's parsers raise them; the image cannot be decoded to its last byte.
    """
    try:
        return _decoded(content, reduced=True)
    except Exception:  # a lossless JPEG, for example, cannot be decoded at a smaller size
        return _decoded(content, reduced=False)


def _decoded(content: bytes, *, reduced: bool) -> tuple[int, int, int, int, int]:
    try:
        image = Image.open(BytesIO(content))
    except UnidentifiedImageError:
        raise ValueError(_unidentified(content)) from None
    with image:
        width, height = image.size
        if reduced:
            # decoding at an eighth of the size parses every byte of a JPEG in two thirds of the time
            image.draft(None, (1, 1))  # type: ignore[arg-type]
        image.load()
        facts = number(image.format, FORMATS), number(image.mode, MODES), _orientation(image)
        image.convert("RGB")
    return width, height, *facts


def _header(path: Path, entry: Entry) -> Facts | None:
    """What the first bytes of an image say; damage behind them, and its EXIF orientation, are not looked at.

    None where they do not say it, or there is something else wrong.
    """
    with suppress(Exception):  # Pillow's parsers raise errors of any kind
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size, mtime = _state(os.fstat(descriptor), entry)
            content = os.pread(descriptor, min(HEADER, size), entry.offset)
        finally:
            os.close(descriptor)
        with Image.open(BytesIO(content)) as image:
            kinds = number(image.format, FORMATS), number(image.mode, MODES), 0
            return Facts(size, mtime, *image.size, *kinds, bytes(HASH_BYTES)) if min(image.size) else None
    return None


def _unidentified(content: bytes) -> str:
    if content.startswith(b"\xff\xd8") or content.endswith(b"\xff\xd9"):
        return f"a JPEG with a damaged header: it begins with {content[:4].hex(' ')}"
    if content[4:8] in (b"ftyp", b"JXL "):
        return "HEIC, JPEG XL or another format that Pillow does not decode here; convert it to JPEG or PNG"
    return f"not an image: it begins with {content[:4].hex(' ')}"


def _orientation(image: Image.Image) -> int:
    """1 to 8, or 0 where there is none, or where the metadata cannot be read."""
    try:
        value = image.getexif().get(Tag.Orientation, 0)
    except Exception:  # Pillow's parsers raise errors of any kind
        return 0
    return value if isinstance(value, int) and 1 <= value <= 8 else 0


def _raw_size(content: bytes, size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    if len(content) != 3 * width * height:
        raise ValueError(f"{len(content)} bytes, but {width}x{height} pixels take {3 * width * height}")
    return size


def _read(path: Path, entry: Entry) -> tuple[bytes, int]:
    """The encoded image, and the time of its file's last change."""
    with path.open("rb", buffering=0) as file:
        changed = os.fstat(file.fileno()).st_mtime_ns
        file.seek(entry.offset)
        content = file.read(entry.size)
    if entry.size >= 0 and len(content) != entry.size:
        raise ValueError(f"the archive ends {entry.size - len(content)} bytes before the image does")
    return content, changed


def _state(status: os.stat_result, entry: Entry) -> tuple[int, int]:
    """Bytes of the image and time of its file's last change, without opening the file."""
    if entry.archive < 0:
        return (status.st_size if stat.S_ISREG(status.st_mode) else -1), status.st_mtime_ns
    return (entry.size if status.st_size >= entry.offset + entry.size else -1), status.st_mtime_ns

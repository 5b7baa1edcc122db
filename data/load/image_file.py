"""Reads and decodes single images, in any thread: the fallback of every backend, and the reference for pixels."""

import io
import os
from contextlib import suppress
from threading import Lock

import numpy as np
import simplejpeg
from PIL import Image

from data.catalog.decoding import decoding
from data.catalog.formats import GREY, JPEG, RAW, RGB
from data.catalog.manifest import Bytes, Manifest
from data.load import jpeg_header
from data.types import BrokenImageError


class Images:
    """The images of a manifest. Keeps archives open; safe to use from many threads."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._archives: dict[int, int] = {}
        self._lock = Lock()

    def encoded(self, index: int) -> Bytes:
        """(size,) bytes of one image, as stored.

        Raises:
            BrokenImageError: The file cannot be read, or is not the one listed.
        """
        manifest = self.manifest
        try:
            if not manifest.archives:
                return self._whole_file(index)
            return _filled(self._archive(index), int(manifest.sizes[index]), int(manifest.offsets[index]))
        except OSError as error:
            raise BrokenImageError(error.strerror or str(error)) from None

    def pixels(self, index: int) -> Bytes:
        """(H, W, 3) RGB of one image as Pillow decodes it, whatever its format; EXIF orientation is ignored.

        Raises:
            BrokenImageError: The file cannot be read or decoded to its last byte, or is not the one listed.
        """
        encoded = self.encoded(index)
        height, width = int(self.manifest.heights[index]), int(self.manifest.widths[index])
        if self.manifest.formats[index] == RAW:
            return encoded.reshape(3, height, width).transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
        with decoding():
            plain = self.plain(index) and self.parses(encoded, index)
            pixels = _decoded(encoded, width, height, plain=plain)
            _check(pixels.shape[1], pixels.shape[0], width, height)
            return pixels

    def plain(self, index: int) -> bool:
        """Whether the image is a JPEG in colour or grey, which all decoders decode to the same pixels."""
        manifest = self.manifest
        return bool(manifest.formats[index] == JPEG and manifest.modes[index] in (RGB, GREY))

    def parses(self, encoded: Bytes, index: int) -> bool:
        """Whether the header is that of a JPEG of the listed size, which every decoder understands."""
        return jpeg_header.parses(encoded, int(self.manifest.widths[index]), int(self.manifest.heights[index]))

    def close(self) -> None:
        with self._lock:
            for descriptor in self._archives.values():
                os.close(descriptor)
            self._archives.clear()

    def _whole_file(self, index: int) -> Bytes:
        listed = int(self.manifest.sizes[index])
        descriptor = os.open(self.manifest.path(index), os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            if size != listed:
                raise BrokenImageError(f"{size:,} bytes, {listed:,} when it was listed")
            return _filled(descriptor, listed, 0)
        finally:
            os.close(descriptor)

    def _archive(self, index: int) -> int:
        number = int(self.manifest.archive[index])
        with self._lock:
            if number not in self._archives:
                self._archives[number] = os.open(self.manifest.path(index), os.O_RDONLY)
            return self._archives[number]


def _filled(descriptor: int, size: int, offset: int) -> Bytes:
    content = np.empty(size, np.uint8)
    done = 0
    while done < size:
        count = os.preadv(descriptor, [content[done:].data], offset + done)
        if count == 0:
            raise BrokenImageError(f"ends after {done:,} of {size:,} bytes")
        done += count
    return content


def _decoded(encoded: Bytes, width: int, height: int, *, plain: bool) -> Bytes:
    if plain:
        with suppress(ValueError):  # raised for warnings too, despite which Pillow decodes
            return simplejpeg.decode_jpeg(encoded, "RGB")
    with Image.open(io.BytesIO(encoded.data)) as image:
        _check(*image.size, width, height)  # before a damaged header allocates memory
        return np.array(image.convert("RGB"))


def _check(width: int, height: int, listed_width: int, listed_height: int) -> None:
    if (width, height) != (listed_width, listed_height):
        raise BrokenImageError(f"{width}x{height} pixels, listed with {listed_width}x{listed_height}")

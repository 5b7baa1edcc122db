"""Checks whether DALI's parser will accept a JPEG's header."""

import struct

from data.catalog.manifest import Bytes

_SEGMENT = struct.Struct(">BBH")  # 0xFF, marker, length
_FRAME = struct.Struct(">BHHB")  # bits a sample, height, width, components
_START = 0xD8
_FILL = 0xFF  # any number of them may precede a marker
_SCAN = 0xDA
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended and progressive, which every decoder knows
_REFUSED = frozenset((0x00, 0x01, *range(0xC3, 0xDA))) - {0xC4, 0xCC}  # other frames, and markers without a length


def parses(encoded: Bytes, width: int, height: int) -> bool:
    """Whether segments follow each other without a gap up to the first scan, with one frame header of this size.

    Where DALI's parser fails in a batch of more than about ten images, the process ends with SIGSEGV: it raises while
    its other threads still parse into memory that the exception frees. Pillow skips much of what DALI's parser refuses.
    This function refuses a little more than DALI's parser, and everything that DALI cannot decode.

    Args:
        encoded: The file.
        width: Of the image, pixels; DALI fails likewise for regions outside of the image.
        height: Pixels.
    """
    view, position, frames = encoded.data, 2, 0
    if len(view) < 2 or view[0] != 0xFF or view[1] != _START:
        return False
    while position + _SEGMENT.size <= len(view):
        prefix, marker, length = _SEGMENT.unpack_from(view, position)
        if prefix == marker == _FILL:
            position += 1
            continue
        content, position = position + _SEGMENT.size, position + 2 + length
        if prefix != 0xFF or marker in _REFUSED or length < 2 or position > len(view):
            return False
        if marker == _SCAN:
            return frames == 1
        if marker in _FRAMES:
            frames += 1
            if not _frame(view[content:position], width, height):
                return False
    return False


def _frame(content: memoryview, width: int, height: int) -> bool:
    """Whether a frame header says 8 bits, that size, and one or three components."""
    if len(content) < _FRAME.size:
        return False
    bits, *size, components = _FRAME.unpack_from(content)
    return bits == 8 and size == [height, width] and components in (1, 3) and len(content) == 6 + 3 * components

"""Reads arrays of structures from MATLAB's files of version 5: their text and real numbers.

Reference: MAT-File Format, The MathWorks, chapter "MAT-File Level 5 File Format". Standard library only.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

HEADER = 128
MOST_BYTES = 1 << 24  # of an unpacked array: the devkit's has some million
MATRIX, COMPRESSED = 14, 15  # kinds of elements
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}  # as `struct` calls them
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
STRUCTURE, TEXT, DOUBLE, UINT64 = 2, 4, 6, 15  # classes of matrices; those from DOUBLE to UINT64 hold numbers

Value = str | tuple[float, ...] | None


class _Element(NamedTuple):
    kind: int
    body: bytes


def structures(content: bytes, name: str) -> list[dict[str, Value]]:
    """The array of structures called `name`, one dictionary each; None for what is neither text nor real numbers.

    Raises:
        ValueError: There is none, or `content` is no such file, or a damaged one.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content):,} bytes, where {MOST_BYTES:,} are plenty")
    order = {b"IM": "<", b"MI": ">"}.get(content[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError("no MATLAB file of version 5")
    try:
        for element in _matrices(content[HEADER:], order):
            flags, _, title, *fields = _elements(element.body, order)
            if flags.body and _class(flags, order) == STRUCTURE and _text(title, order) == name:
                return list(_rows(fields, order))
    except (struct.error, zlib.error, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"damaged: {error}") from None
    raise ValueError(f"holds no array of structures called {name}")


def _matrices(content: bytes, order: str) -> Iterator[_Element]:
    for element in _elements(content, order):
        if element.kind == COMPRESSED:
            yield from (inner for inner in _elements(_unpacked(element.body), order) if inner.kind == MATRIX)
        elif element.kind == MATRIX:
            yield element


def _unpacked(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(body, MOST_BYTES)
    if not stream.eof:
        raise ValueError(f"damaged: does not unpack to at most {MOST_BYTES:,} bytes")
    return content


def _elements(content: bytes, order: str) -> Iterator[_Element]:
    position = 0
    while position < len(content):
        (kind,) = struct.unpack_from(f"{order}I", content, position)
        if small := kind >> 16:  # up to 4 bytes, stored instead of the size
            start, size, step = position + 4, small, 8
        else:
            (size,) = struct.unpack_from(f"{order}I", content, position + 4)
            start, step = position + 8, 8 + size + (0 if kind == COMPRESSED else -size % 8)
        body = content[start : start + size]
        if len(body) != size:
            raise ValueError(f"damaged: ends {size - len(body)} bytes early")
        yield _Element(kind & 0xFFFF, body)
        position += step


def _rows(fields: list[_Element], order: str) -> Iterator[dict[str, Value]]:
    """Field names in rows of equal length, then all fields of the first structure, of the second ..."""
    length = int(_numbers(fields[0], order)[0])
    if length <= 0:
        raise ValueError("damaged: field names without a length")
    text = fields[1].body
    names = [text[start : start + length].rstrip(b"\0").decode() for start in range(0, len(text), length)]
    values = [_value(field, order) for field in fields[2:]]
    if not names or len(values) % len(names):
        raise ValueError(f"damaged: {len(values)} values of {len(names)} fields")
    for start in range(0, len(values), len(names)):
        yield dict(zip(names, values[start : start + len(names)], strict=True))


def _value(element: _Element, order: str) -> Value:
    if not element.body:
        return ()
    flags, _, _, *content = _elements(element.body, order)
    kind = _class(flags, order)
    if kind == TEXT:
        return _text(content[0], order) if content else ""
    return _numbers(content[0], order) if DOUBLE <= kind <= UINT64 and content else None


def _class(flags: _Element, order: str) -> int:
    return int(_numbers(flags, order)[0]) & 0xFF


def _text(element: _Element, order: str) -> str:
    encoding = TEXTS.get(element.kind, "latin-1")
    if encoding in ("utf-16", "utf-32"):
        encoding += {"<": "-le", ">": "-be"}[order]
    return element.body.decode(encoding)


def _numbers(element: _Element, order: str) -> tuple[float, ...]:
    code = NUMBERS.get(element.kind)
    if code is None:
        raise ValueError(f"damaged: numbers of an unknown kind, {element.kind}")
    return struct.unpack(f"{order}{len(element.body) // struct.calcsize(code)}{code}", element.body)

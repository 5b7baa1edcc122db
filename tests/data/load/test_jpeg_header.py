"""The walk lets every sound header through, whatever it holds, and nothing that DALI's parser refuses."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from data.load.jpeg_header import parses
from tests.data.load.damage import HEADER, HEIGHT, WIDTH, jpeg, place, stray
from tests.data.making import picture

TURNED = Image.Exif()
TURNED[0x0112] = 6
PLAIN = jpeg()
THUMBNAIL = TURNED.tobytes() + jpeg(1)


def grey() -> bytes:
    stream = BytesIO()
    picture(WIDTH, HEIGHT, 0).convert("L").save(stream, "JPEG")
    return stream.getvalue()


def walk(content: bytes) -> bool:
    return parses(np.frombuffer(content, np.uint8), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        grey(),
        jpeg(progressive=True),
        jpeg(subsampling=0),
        jpeg(restart_marker_rows=1),
        jpeg(keep_rgb=True),
        jpeg(exif=TURNED, comment=b"\xff\xda within a comment"),
        jpeg(exif=THUMBNAIL),
        stray(PLAIN, b"\xff\xff\xff"),
        PLAIN + b"behind the end" * 9,
        PLAIN[:-50],
        HEADER["stray bytes"](PLAIN).replace(b"\0\1\xff\xdb", b"\xff\xdb", 1),
    ],
    ids=[
        "plain", "grey", "progressive", "4:4:4", "restarts", "RGB", "comment", "thumbnail", "fill bytes", "more behind",
        "damage behind the header", "end cut off",
    ],
)  # fmt: skip
def test_sound_headers_pass(content: bytes) -> None:
    assert walk(content)


@pytest.mark.parametrize("kind", HEADER)
def test_damaged_headers_do_not(kind: str) -> None:
    assert not walk(HEADER[kind](PLAIN))


TWICE = PLAIN[place(PLAIN, 0xC0) : place(PLAIN, 0xC4)]
OTHERS: dict[str, Callable[[], bytes]] = {
    "no bytes": lambda: b"",
    "two frames": lambda: stray(PLAIN, TWICE),
    "no frame": lambda: PLAIN.replace(TWICE, b""),
    "lossless": lambda: PLAIN.replace(b"\xff\xc0", b"\xff\xc3", 1),
    "short Exif": lambda: stray(PLAIN, b"\xff\xe1\0\x07Exif\0\0"),
    "restart in the header": lambda: stray(PLAIN, b"\xff\xd0"),
    "PNG": lambda: b"\x89PNG\r\n\x1a\n" + PLAIN,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_else_is_refused(kind: str) -> None:
    assert not walk(OTHERS[kind]())


def test_a_file_that_ends_before_its_first_scan_is_refused_wherever_it_ends() -> None:
    scan = place(PLAIN, 0xDA)
    assert not any(walk(PLAIN[:end]) for end in range(scan + 14))
    assert walk(PLAIN[: scan + 14])

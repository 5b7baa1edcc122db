"""What is wrong with a file is told apart, and ends no scan."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from data.catalog import tree
from data.catalog.formats import GREY, RGB
from data.catalog.manifest import Manifest
from data.load.image_file import Images
from data.verify import verify
from data.verify.inspection import decode

NOBODY = 65534


def image(size: tuple[int, int] = (64, 48)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(kind: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    stream = BytesIO()
    image().convert(mode).save(stream, kind, **options)
    return stream.getvalue()


WHOLE = encoded()


def scan(root: Path) -> Manifest:
    return verify.scan(tree.read(root / "train").listing(), workers=1).manifest


def beside_a_good_one(root: Path, content: bytes) -> Manifest:
    folder = root / "train" / "a"
    folder.mkdir(parents=True)
    (folder / "bad.JPEG").write_bytes(content)
    (folder / "good.JPEG").write_bytes(WHOLE)
    return scan(root)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (WHOLE[: len(WHOLE) // 2], "image file is truncated"),
        (WHOLE[:-100], "image file is truncated"),
        (WHOLE[:-1], "image file is truncated"),
        (np.random.default_rng(1).bytes(5000), "not an image: it begins with ff e4 22 79"),
        (b"<html>404</html>", "not an image: it begins with 3c 68 74 6d"),
        (bytes(64) + WHOLE[64:], "a JPEG with a damaged header: it begins with 00 00 00 00"),
        (WHOLE[:4] + bytes(60) + WHOLE[64:], "broken data stream"),
        (WHOLE[:20], "a JPEG with a damaged header"),
    ],
    ids=["zero bytes", "half", "tail", "last byte", "garbage", "html", "zeroed header", "bad header", "head alone"],
)
def test_a_damaged_file_is_listed_with_what_is_wrong(tmp_path: Path, content: bytes, reason: str) -> None:
    found = beside_a_good_one(tmp_path, content)
    (broken,) = found.broken
    assert broken.name == "a/bad.JPEG"
    assert broken.reason.startswith(reason)
    assert [found.name(row) for row in range(len(found))] == ["a/good.JPEG"]


def test_missing_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "a"
    (folder / "folder.JPEG" / "deeper").mkdir(parents=True)
    (folder / "loop.JPEG").symlink_to("loop.JPEG")
    (folder / "missing.JPEG").symlink_to("nowhere")
    assert [str(broken) for broken in scan(tmp_path).broken] == [
        "a/folder.JPEG: Is a directory",
        "a/loop.JPEG: Too many levels of symbolic links",
        "a/missing.JPEG: No such file or directory",
    ]


def test_postscript_under_an_image_s_name_is_broken_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, program = tmp_path / "ran", tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (broken,) = beside_a_good_one(tmp_path, encoded("EPS")).broken
    assert broken.name == "a/bad.JPEG"
    assert not ran.exists()


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything."""
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)


def test_a_file_that_may_not_be_read_is_told_apart() -> None:
    with TemporaryDirectory() as place:  # pytest's own folders are closed to others
        root = Path(place)
        folder = root / "train" / "a"
        folder.mkdir(parents=True)
        (folder / "mine.JPEG").write_bytes(WHOLE)
        (folder / "mine.JPEG").chmod(0)
        root.chmod(0o755)
        with without_privileges():
            (broken,) = scan(root).broken
    assert str(broken) == "a/mine.JPEG: Permission denied"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_a_part_of_any_format_is_broken(tmp_path: Path, kind: str, part: float) -> None:
    whole = encoded(kind)
    (broken,) = beside_a_good_one(tmp_path, whole[: int(part * len(whole))]).broken
    assert broken.name == "a/bad.JPEG"


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}, {"restart_marker_rows": 1}],
    ids=str,
)
def test_decoding_at_a_small_scale_sees_what_a_whole_decode_sees(options: dict[str, str]) -> None:
    rng, whole = np.random.default_rng(3), encoded(**options)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(2, len(whole), 3):
            damaged[place] = rng.integers(256)
        damaged = damaged[: len(whole) - int(rng.choice([0, 0, 1, 50]))]
        assert decodes(bytes(damaged), whole_size=True) == decodes(bytes(damaged), whole_size=False)


def decodes(content: bytes, *, whole_size: bool) -> bool:
    try:
        Image.open(BytesIO(content)).convert("RGB") if whole_size else decode(content)
    except Exception:
        return False
    return True


def test_an_image_of_absurd_size_is_broken_and_a_large_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 - 1)
    assert len(beside_a_good_one(tmp_path, WHOLE)) == 2
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2 - 1)
    assert "decompression bomb" in scan(tmp_path).broken[0].reason


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    head = b"IHDR" + (10**6).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    whole = encoded("PNG")
    bomb = whole[:12] + head + zlib.crc32(head).to_bytes(4, "big") + whole[33:]
    (broken,) = beside_a_good_one(tmp_path, bomb).broken
    assert "1000000000000 pixels" in broken.reason


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff"])
def test_damaged_metadata_break_no_image(tmp_path: Path, exif: bytes) -> None:
    found = beside_a_good_one(tmp_path, encoded(exif=exif))
    assert (len(found), found.orientations.tolist()) == (2, [0, 0])


@pytest.mark.parametrize(("value", "listed"), [(1, 1), (8, 8), (0, 0), (9, 0)])
def test_only_the_eight_orientations_count(tmp_path: Path, value: int, listed: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert beside_a_good_one(tmp_path, encoded(exif=exif)).orientations[0] == listed


def test_a_reason_is_one_short_line(tmp_path: Path) -> None:
    found = beside_a_good_one(tmp_path, b"P6\n" + b"9" * 5000)
    assert "\n" not in found.broken[0].reason
    assert len(found.broken[0].reason) <= 200


def test_a_lossless_jpeg_which_decodes_at_no_smaller_size_is_sound(tmp_path: Path) -> None:
    """8 x 8 pixels of middle grey: each as its neighbours foretell."""
    table = bytes.fromhex("ffc4 0014 00 01") + bytes(15) + b"\0"
    frame = bytes.fromhex("ffc3 000b 08 0008 0008 01 01 11 00")
    lossless = b"\xff\xd8" + table + frame + bytes.fromhex("ffda 0008 01 01 00 01 00 00") + bytes(8) + b"\xff\xd9"
    found = beside_a_good_one(tmp_path, lossless)
    assert (found.broken, found.widths.tolist(), found.modes.tolist()) == ((), [8, 64], [GREY, RGB])
    assert (Images(found).pixels(0) == 128).all()

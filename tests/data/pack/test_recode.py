from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from data.catalog.pack_record import PackOptions
from data.pack.recode import prepared

SMALLER = PackOptions(resize=64, quality=90)


def encoded(size: tuple[int, int], mode: str = "RGB", kind: str = "JPEG", **options: object) -> bytes:
    rng = np.random.default_rng(0)
    shape = (9, 11) + (() if mode == "L" else (len(mode),))  # patches of colour, with soft edges
    picture = Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode).resize(size)
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize(
    ("size", "small"),
    [((200, 100), (128, 64)), ((100, 200), (64, 128)), ((65, 65), (64, 64)), ((333, 101), (211, 64))],
)
def test_the_shorter_side_gets_the_length_that_was_asked_for(size: tuple[int, int], small: tuple[int, int]) -> None:
    stored = prepared(encoded(size), ".JPEG", None, SMALLER)
    image = opened(stored.content)
    assert (stored.size, image.size, image.format, image.mode) == (small, small, "JPEG", "RGB")
    assert (stored.suffix, stored.resized) == (".JPEG", True)


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".JPEG"), ("JPEG", ".jpg"), ("PNG", ".png"), ("PNG", ".JPEG")])
@pytest.mark.parametrize("size", [(64, 200), (20, 20)])
def test_an_image_that_is_not_larger_keeps_its_bytes(kind: str, suffix: str, size: tuple[int, int]) -> None:
    content = encoded(size, kind=kind)
    assert prepared(content, suffix, None, SMALLER) == (content, suffix, size, False)


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"), ("LA", "PNG"), ("L", "PNG")]
)
def test_without_a_new_size_every_image_keeps_its_bytes(mode: str, kind: str) -> None:
    content = encoded((200, 100), mode, kind)
    assert prepared(content, ".x", None, PackOptions()) == (content, ".x", (200, 100), False)


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "PNG"), ("LA", "PNG")])
def test_a_resized_image_looks_as_loaders_see_the_original(mode: str, kind: str) -> None:
    content = encoded((200, 100), mode, kind)
    stored = prepared(content, ".png", None, PackOptions(resize=64, quality=100))
    assert stored.suffix == ".jpg"
    wanted = opened(content).convert("RGB").resize((128, 64), Image.Resampling.LANCZOS)
    difference = np.abs(np.asarray(opened(stored.content), float) - np.asarray(wanted, float))
    assert difference.mean() < 4  # a transparent image set before black would differ by sixty


def test_quality_decides_the_size() -> None:
    sizes = [
        len(prepared(encoded((400, 400)), ".jpg", None, PackOptions(resize=200, quality=quality)).content)
        for quality in (10, 50, 90, 100)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[-1]


def test_what_is_not_pixels_is_left_behind_and_rotation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    content = encoded((200, 100), exif=exif, comment=b"mine", icc_profile=b"profile", dpi=(300, 300))
    stored = prepared(content, ".jpg", None, SMALLER)
    plain = prepared(encoded((200, 100)), ".jpg", None, SMALLER)
    assert stored == plain
    assert stored.size == (128, 64)


def test_raw_pixels_become_a_png_without_loss() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 7, 5), np.uint8)
    stored = prepared(pixels.tobytes(), ".png", (5, 7), SMALLER)
    image = opened(stored.content)
    assert (image.format, image.mode, stored.size, stored.suffix) == ("PNG", "RGB", (5, 7), ".png")
    assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels)


@pytest.mark.parametrize("options", [PackOptions(), SMALLER])
@pytest.mark.parametrize("size", [(40, 40), (200, 200)])
def test_what_does_not_decode_to_its_last_byte_is_an_error(options: PackOptions, size: tuple[int, int]) -> None:
    whole = encoded(size)
    for content in (b"", b"no image", b"\xff\xd8\xff\xe0", whole[: len(whole) // 2], whole[:-100]):
        with pytest.raises((OSError, ValueError)):
            prepared(content, ".jpg", None, options)


def test_a_raw_image_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        prepared(bytes(100), ".png", (32, 32), SMALLER)


def test_the_crops_that_a_network_sees_are_those_of_the_original_but_for_jpeg_s_loss() -> None:
    content = encoded((600, 480), quality=95)
    stored = prepared(content, ".JPEG", None, PackOptions(resize=400))
    views = [
        np.asarray(
            image.resize((224, 224), Image.Resampling.BILINEAR, (side / 4, side / 4, side * 7 / 8, side * 7 / 8))
        )
        for image, side in ((opened(content), 480), (opened(stored.content), 400))
    ]
    assert np.abs(views[0].astype(float) - views[1]).mean() < 1

"""A scan of headers alone: the same facts as a whole one has, for images that can be decoded."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from data.catalog import manifest, shards, tree
from data.catalog.pack_record import PackOptions
from data.pack import pack
from data.verify import verify
from tests.data.making import picture, varied_tree


def test_headers_say_what_a_loader_needs_and_damage_behind_them_is_left_to_it(tmp_path: Path) -> None:
    listing = tree.read(varied_tree(tmp_path) / "train").listing()
    whole, headers = (verify.scan(listing, workers=1, whole=each).manifest for each in (True, False))
    assert len(headers) == len(whole) == 32
    for name in ("widths", "heights", "formats", "modes", "sizes", "mtimes", "names", "ends"):
        assert np.array_equal(getattr(headers, name), getattr(whole, name)), name
    assert (headers.hashed, headers.fingerprint()) == (False, None)
    headers.save(tmp_path / "m.npz")
    few = manifest.load(tmp_path / "m.npz", headers.root).take(np.arange(3))
    assert (few.hashed, few.name(2), len(few.hashes)) == (False, headers.name(2), 0)
    os.truncate(headers.path(0), int(headers.sizes[0]) - 100)
    os.truncate(headers.path(1), 10)
    again = verify.scan(listing, workers=1, whole=False).manifest
    assert (len(again), [image.name for image in again.broken]) == (31, [headers.name(1)])


def test_what_a_header_does_not_say_is_decoded_and_broken_for_the_same_reason(tmp_path: Path) -> None:
    """Headers longer than the first read, formats whose header is at the end, and every kind of damage to a header."""
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    image, turned = picture(40, 30, 0), Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "long.jpg", comment=b"x" * 60_000, exif=turned)
    image.save(folder / "progressive.jpg", progressive=True)
    image.save(folder / "pages.jpg", format="MPO", save_all=True, append_images=[image])
    for kind in ("png", "webp", "gif", "tiff", "bmp", "ppm"):
        image.save(folder / f"a.{kind}")
    content = (folder / "progressive.jpg").read_bytes()
    size = content.index(b"\xff\xc2") + 5
    (folder / "flat.jpg").write_bytes(content[:size] + b"\0\0" + content[size + 2 :])
    (folder / "huge.jpg").write_bytes(content[:size] + b"\xff" * 4 + content[size + 4 :])
    (folder / "cut.jpg").write_bytes(content[:size])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_bytes(b"no image" * 2000)
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "link.jpg").symlink_to("long.jpg")
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(content)
    listing = tree.read(tmp_path / "train").listing()
    whole, headers = (verify.scan(listing, workers=1, whole=each).manifest for each in (True, False))
    assert (len(headers), len(headers.broken)) == (11, 6)
    assert headers.broken == whole.broken
    for name in ("widths", "heights", "formats", "modes", "sizes", "mtimes", "names", "ends"):
        assert np.array_equal(getattr(headers, name), getattr(whole, name)), name


def test_headers_of_images_in_an_archive_are_read_alone(tmp_path: Path) -> None:
    varied_tree(tmp_path)
    pack.write(tree.read(tmp_path / "train").listing(), tmp_path / "shards", "train", PackOptions(shard_images=12), 1)
    listing = shards.listing(tmp_path / "shards", "train")
    whole, headers = (verify.scan(listing, workers=1, whole=each).manifest for each in (True, False))
    assert len(headers) == 32
    for name in ("widths", "heights", "formats", "modes", "sizes", "offsets", "archive", "names"):
        assert np.array_equal(getattr(headers, name), getattr(whole, name)), name
    last = max(listing.entries, key=lambda entry: (entry.archive, entry.offset))
    os.truncate(listing.path(last), last.offset + 9)
    assert len(verify.scan(listing, workers=1, whole=False).manifest.broken) == 1

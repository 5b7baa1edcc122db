import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from data.catalog import tree
from data.catalog.formats import FORMATS, MODES
from data.catalog.listing import Entry, Listing, digest
from data.catalog.manifest import Manifest
from data.verify import verify

NOW = 1_700_000_000_000_000_000


def picture(number: int, size: tuple[int, int] = (30, 20), mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    stream = BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def fill(root: Path, per_class: int = 3) -> Path:
    """ROOT/train/{a,b}/<number>.JPEG, all of another content."""
    for label, name in enumerate("ab"):
        (root / "train" / name).mkdir(parents=True)
        for number in range(per_class):
            picture(100 * label + number).save(root / "train" / name / f"{number}.JPEG")
    return root


def scan(listing: Listing, known: Manifest | None = None, workers: int = 1) -> verify.Scan:
    return verify.scan(listing, known=known, workers=workers)


def columns(found: Manifest) -> dict[str, list[int]]:
    names = ("targets", "widths", "heights", "sizes", "mtimes", "formats", "modes", "orientations", "hashes", "ends")
    return {name: getattr(found, name).tolist() for name in names}


def test_every_image_is_listed_with_what_its_file_says(tmp_path: Path) -> None:
    folder = fill(tmp_path) / "train" / "b"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(7, (64, 48)).save(folder / "0.JPEG", exif=exif)
    picture(8, (5, 9), "CMYK").save(folder / "1.JPEG")
    picture(9, (17, 3), "L").save(folder / "2.JPEG", "PNG")
    os.utime(folder / "1.JPEG", ns=(NOW, NOW))
    found = verify.scan(tree.read(tmp_path / "train").listing(), workers=1).manifest
    assert (len(found), found.classes, found.broken) == (6, ("a", "b"), ())
    assert found.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert [found.path(row) for row in (0, 5)] == [tmp_path / "train/a/0.JPEG", folder / "2.JPEG"]
    assert list(zip(found.widths, found.heights, strict=True)) == [(30, 20)] * 3 + [(64, 48), (5, 9), (17, 3)]
    assert [FORMATS[number] for number in found.formats] == ["JPEG"] * 5 + ["PNG"]
    assert [MODES[number] for number in found.modes] == ["RGB"] * 4 + ["CMYK", "L"]
    assert found.orientations.tolist() == [0, 0, 0, 6, 0, 0]
    contents = [found.path(row).read_bytes() for row in range(6)]
    assert found.sizes.tolist() == list(map(len, contents))
    assert [row.tobytes() for row in found.hashes] == list(map(digest, contents))
    assert found.mtimes[4] == NOW


def test_workers_change_nothing(tmp_path: Path) -> None:
    listing = tree.read(fill(tmp_path, per_class=50) / "train").listing()
    (tmp_path / "train/a/49.JPEG").write_bytes(b"")
    one, two = scan(listing), scan(listing, workers=2)
    assert columns(one.manifest) == columns(two.manifest)
    assert one.manifest.broken == two.manifest.broken
    assert (len(one.manifest), one.read, two.read) == (99, 100, 100)


def test_names_that_are_no_text_and_classes_without_images_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.JPEG")
    folder = fill(tmp_path) / "train" / os.fsdecode(b"c\xfe")
    folder.mkdir()
    picture(1).save(folder / name)
    (tmp_path / "train" / "empty").mkdir()
    found = scan(tree.read(tmp_path / "train").listing()).manifest
    assert found.classes == ("a", "b", os.fsdecode(b"c\xfe"), "empty")
    assert found.path(6) == folder / name
    assert len(str(found.fingerprint())) == 64


def test_a_later_scan_reads_only_what_changed(tmp_path: Path) -> None:
    folder = fill(tmp_path) / "train" / "a"
    before = scan(tree.read(tmp_path / "train").listing()).manifest
    again = scan(tree.read(tmp_path / "train").listing(), before)
    assert again.read == 0
    assert columns(again.manifest) == columns(before)

    (folder / "0.JPEG").rename(folder / "3.JPEG")
    picture(50, (8, 8)).save(folder / "1.JPEG")
    os.utime(folder / "2.JPEG", ns=(NOW, NOW))
    after = scan(tree.read(tmp_path / "train").listing(), before)
    assert after.read == 3
    assert [after.manifest.name(row) for row in range(3)] == ["a/1.JPEG", "a/2.JPEG", "a/3.JPEG"]
    assert columns(after.manifest) == columns(scan(tree.read(tmp_path / "train").listing()).manifest)


def test_what_was_good_and_is_now_broken_is_no_longer_listed_and_the_reverse(tmp_path: Path) -> None:
    file = fill(tmp_path) / "train/a/1.JPEG"
    whole = file.read_bytes()
    good = scan(tree.read(tmp_path / "train").listing()).manifest
    file.write_bytes(whole[:200])
    worse = scan(tree.read(tmp_path / "train").listing(), good).manifest
    assert (len(worse), [image.name for image in worse.broken]) == (5, ["a/1.JPEG"])
    file.write_bytes(whole)
    better = scan(tree.read(tmp_path / "train").listing(), worse)
    assert (len(better.manifest), better.read, better.manifest.broken) == (6, 1, ())


def in_archive(root: Path, contents: list[bytes], raw: tuple[int, int] | None = None) -> Listing:
    """All contents behind a head of 10 bytes in one file."""
    (root / "all.bin").write_bytes(b"0123456789" + b"".join(contents))
    starts = np.cumsum([10, *map(len, contents)]).tolist()
    entries = [Entry(0, f"{n}.jpg", 0, starts[n], len(content)) for n, content in enumerate(contents)]
    return Listing(root=root, classes=("a",), entries=entries, archives=("all.bin",), raw=raw)


def test_images_in_an_archive_are_listed_with_their_places(tmp_path: Path) -> None:
    contents = [encoded(picture(n)) for n in range(4)]
    contents[2] = contents[2][:-100]
    listing = in_archive(tmp_path, contents)
    found = scan(listing).manifest
    assert found.offsets.tolist() == [10, 10 + len(contents[0]), 10 + sum(map(len, contents[:3]))]
    assert [found.name(row) for row in range(3)] == ["0.jpg", "1.jpg", "3.jpg"]
    assert (found.archives, found.archive.tolist()) == (("all.bin",), [0, 0, 0])
    assert found.archive_sizes.tolist() == [10 + sum(map(len, contents))]
    assert found.mtimes.tolist() == [(tmp_path / "all.bin").stat().st_mtime_ns] * 3
    assert [image.name for image in found.broken] == ["all.bin: 2.jpg"]
    assert scan(listing, found).read == 1  # the broken one
    os.utime(tmp_path / "all.bin", ns=(NOW, NOW))
    assert scan(listing, found).read == 4


def test_an_archive_that_ends_too_soon_breaks_its_last_images(tmp_path: Path) -> None:
    listing = in_archive(tmp_path, [encoded(picture(n)) for n in range(4)])
    os.truncate(tmp_path / "all.bin", listing.entries[2].offset + listing.entries[2].size - 7)
    found = scan(listing).manifest
    size = listing.entries[3].size
    assert [str(image) for image in found.broken] == [
        "all.bin: 2.jpg: the archive ends 7 bytes before the image does",
        f"all.bin: 3.jpg: the archive ends {size} bytes before the image does",
    ]


def test_bare_pixels_need_no_decoder(tmp_path: Path) -> None:
    listing = in_archive(tmp_path, [bytes([n]) * 3 * 32 * 32 for n in range(3)] + [b"too short"], raw=(32, 32))
    found = scan(listing).manifest
    assert (found.widths.tolist(), found.heights.tolist()) == ([32] * 3, [32] * 3)
    assert {FORMATS[number] for number in found.formats} == {"RAW"}
    assert [str(image) for image in found.broken] == ["all.bin: 3.jpg: 9 bytes, but 32x32 pixels take 3072"]


def test_broken_images_are_borne_up_to_the_share_that_is_set(tmp_path: Path) -> None:
    fill(tmp_path, per_class=5)
    (tmp_path / "train/b/3.JPEG").write_bytes(b"")
    found = scan(tree.read(tmp_path / "train").listing()).manifest
    assert verify.problem(found, 0.1) is None
    assert verify.problem(found, 0.0999) == (
        f"{tmp_path}/train: 1 of 10 images cannot be decoded (10.00%; 9.99% would be accepted)\n"
        f"  {tmp_path}/train/b/3.JPEG: the file is empty\n"
        "  repair or remove them and run `provenet verify`, which names those of train and val, or raise --max-broken"
    )


def test_many_broken_images_are_counted_and_not_all_named(tmp_path: Path) -> None:
    for file in (fill(tmp_path, per_class=4) / "train").rglob("*.JPEG"):
        file.write_bytes(b"")
    lines = str(verify.problem(scan(tree.read(tmp_path / "train").listing()).manifest, 0.001)).splitlines()
    assert lines[0].startswith(f"{tmp_path}/train: 8 of 8 images cannot be decoded (100.00%; 0.10% would be accepted)")
    assert lines[-2] == "  and 3 more"
    assert len(lines) == 8

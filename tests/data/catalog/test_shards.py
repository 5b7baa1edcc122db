import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data.catalog import listing as listings
from data.catalog import shards
from data.catalog.listing import Entry, Listing
from data.catalog.shards import ShardError
from data.pack.shard import END, member

SAMPLES = {"a/0": (10, b"zero"), "a/1": (2, b"one"), "b.d/2": (2, b"two"), "c": (0, b"three")}


def shard(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(member(name, content) for name, content in files.items()) + END)


def files(samples: dict[str, tuple[int, bytes]], extension: str = "jpg") -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    for name, (target, content) in samples.items():
        parts |= {f"{name}.{extension}": content, f"{name}.cls": str(target).encode()}
    return parts


def contents(listing: Listing) -> dict[str, bytes]:
    return {entry.name: listings.read(listing.path(entry), entry.offset, entry.size) for entry in listing.entries}


def test_every_image_is_found_with_its_class_and_its_place(tmp_path: Path) -> None:
    parts = files(SAMPLES)
    shard(tmp_path / "train/x-0.tar", dict(list(parts.items())[:4]))
    shard(tmp_path / "train/x-1.tar", dict(list(parts.items())[4:]))
    listing = shards.listing(tmp_path, "train")
    assert (listing.root, listing.archives) == (tmp_path / "train", ("x-0.tar", "x-1.tar"))
    assert listing.classes == ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10")
    assert listing.entries == [
        Entry(0, "c.jpg", 1, 2048 + 512, 5),
        Entry(2, "a/1.jpg", 0, 2048 + 512, 3),
        Entry(2, "b.d/2.jpg", 1, 512, 3),
        Entry(10, "a/0.jpg", 0, 512, 4),
    ]
    assert contents(listing) == {f"{name}.jpg": content for name, (_, content) in SAMPLES.items()}
    assert listing.path(listing.entries[0]) == tmp_path / "train/x-1.tar"


def test_shards_made_by_others_are_read(tmp_path: Path) -> None:
    """As timm's ImageNet has them: a class before its image, JSON beside it, headers of another kind, a line break.

    And as `tar` itself makes them of a folder, which it lists too.
    """
    (tmp_path / "val").mkdir()
    with tarfile.open(tmp_path / "val/imagenet1k-validation-00.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in {
            "ILSVRC2012_val_00000001.cls": b"65\n",
            "./ILSVRC2012_val_00000001.jpg": b"image",
            "ILSVRC2012_val_00000001.json": json.dumps({"label": 65}).encode(),
            "ILSVRC2012_val_00000001.mask.png": b"mask",
            "._ILSVRC2012_val_00000001.jpg": b"what a Mac adds",
            "README": b"of no sample",
        }.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5  # type: ignore[assignment]
            archive.addfile(info, io.BytesIO(content))
    listing = shards.listing(tmp_path, "val")
    assert contents(listing) == {"ILSVRC2012_val_00000001.jpg": b"image"}
    assert listing.entries[0].target == 65
    assert len(listing.classes) == 66


def test_classes_have_the_names_in_the_file(tmp_path: Path) -> None:
    shard(tmp_path / "train/x.tar", files({"a": (1, b"")}))
    (tmp_path / "classes.txt").write_text("zebra\ncat with blank\ndög\n")
    assert shards.listing(tmp_path, "train").classes == ("zebra", "cat with blank", "dög")


@pytest.mark.parametrize("extension", ["JPEG", "jpeg", "png", "webp", "PPM"])
def test_any_image_s_extension_will_do(tmp_path: Path, extension: str) -> None:
    shard(tmp_path / "train/x.tar", files({"a": (0, b"a")}, extension))
    assert contents(shards.listing(tmp_path, "train")) == {f"a.{extension}": b"a"}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"a.jpg": b""}, "x.tar: a.jpg has no a.cls beside it"),
        ({"d/a.cls": b"1", "d/b.jpg": b"", "d/b.cls": b"1"}, "x.tar: d/a.cls has no image beside it"),
        ({"a.jpg": b"", "a.cls": b"1", "4.v1.jpg": b"", "4.v1.cls": b"1"}, "x.tar: 4.v1.jpg is no sample's image"),
        ({"a.jpg": b"", "a.png": b"", "a.cls": b"1"}, "x.tar holds two images of one sample, a.jpg and a.png"),
        ({"a.jpg": b"", "a.cls": b"cat"}, "classes.txt names 3 classes, and the shards use class cat; add the names"),
        (
            {"a.jpg": b"", "a.cls": b"0", "b.jpg": b"", "b.cls": b"cat"},
            r"number their classes \(0\), others name them \(cat\)",
        ),
        ({"a.jpg": b"", "a.json": b"{}"}, "x.tar: a.json holds b'{}'; it must be the number of a class"),
        ({"a.jpg": b"", "a.json": b"[[[1"}, "x.tar: a.json holds b.*; it must be the number of a class"),
        ({"a.jpg": b"", "a.cls": b"-1"}, "x.tar: a.cls holds b'-1'; it must be the number of a class"),
        ({"a.jpg": b"", "a.cls": b""}, "x.tar: a.cls holds b''; it must be the number of a class"),
        (
            {"a.jpg": b"", "a.cls": b"1000000"},
            "x.tar: a.cls holds b'1000000'; it must be the number of a class, from 0 to 999999",
        ),
        ({"a.jpg": b"", "a.cls": b"3"}, "classes.txt names 3 classes, and the shards use class 3; add the names"),
        ({"a.txt": b""}, "train holds no image in x.tar; expected files like a.jpg and a.cls"),
        ({}, "train holds no image in x.tar; expected files like a.jpg and a.cls"),
    ],
)
def test_shards_that_are_not_as_they_should_be_are_told(tmp_path: Path, parts: dict[str, bytes], reason: str) -> None:
    shard(tmp_path / "train/x.tar", parts)
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(ShardError, match=reason) as raised:
        shards.listing(tmp_path, "train")
    assert str(tmp_path) in str(raised.value)


def test_a_class_named_twice_is_told(tmp_path: Path) -> None:
    shard(tmp_path / "train/x.tar", files({"a": (0, b"")}))
    (tmp_path / "classes.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(ShardError, match=r"classes\.txt names 'cat' twice; each line must be another class"):
        shards.listing(tmp_path, "train")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: content[:1200], "c.jpg: the archive ends before this file does; copy or download it again"),
        (lambda content: content[:4096], "no tar archive, or a damaged one: empty header; copy or download it again"),
        (
            lambda content: content[:1540] + b"?" + content[1541:],
            "damaged one: bad checksum; copy or download it again",
        ),
        (gzip.compress, "no tar archive, .*; unpack it if it is compressed, or copy or download it again"),
    ],
)
def test_a_shard_that_is_cut_off_damaged_or_compressed_is_told(
    tmp_path: Path, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    shard(tmp_path / "train/x.tar", files({"c": (0, b"three" * 200), "d": (1, b"")}))
    path = tmp_path / "train/x.tar"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ShardError, match=rf"{tmp_path}/train/x\.tar: .*{reason}"):
        shards.listing(tmp_path, "train")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_folder_without_shards_is_told(tmp_path: Path, split: str) -> None:
    (tmp_path / "train").mkdir()
    assert not shards.exist(tmp_path, split)
    with pytest.raises(ShardError, match=rf"{split} holds no \*\.tar file; expected {tmp_path}/train/\*\.tar and"):
        shards.listing(tmp_path, split)


def test_shards_are_known_by_one_archive(tmp_path: Path) -> None:
    shard(tmp_path / "train/x.tar", {})
    assert shards.exist(tmp_path, "train")
    assert not shards.exist(tmp_path, "val")

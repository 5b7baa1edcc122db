import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from data.catalog import listing as listings
from data.catalog import shards, tree
from data.catalog.listing import Entry, Listing
from data.catalog.pack_record import RECORD, PackOptions
from data.output_folder import RefusedError
from data.pack import pack
from data.pack.pack import TooManyBrokenSourcesError, Written

OPTIONS = PackOptions(shard_images=4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(10):
        path = tmp_path / "source/train" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
    return tmp_path / "source"


def write(source: Path, out: Path, options: PackOptions = OPTIONS) -> Written:
    return pack.write(tree.read(source / "train").listing(), out, "train", options, 1)


def options(**changes: float | None) -> PackOptions:
    return dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def unfinish(out: Path, **facts: object) -> None:
    """As if the pack was killed before its last line."""
    record = json.loads((out / RECORD).read_text()) | facts
    record["splits"]["train"]["complete"] = False
    (out / RECORD).write_text(json.dumps(record))


REFUSED: list[tuple[dict[str, float | None], Callable[[Path], object], str]] = [
    ({}, lambda out: (out / "train/notes.txt").touch(), "train holds notes.txt, no part of this data set"),
    ({}, lambda out: (out / RECORD).unlink(), "train holds train-000000.idx, train-000000.tar, "),
    ({}, lambda out: (out / RECORD).write_text("{"), "pack.json cannot be read"),
    ({}, lambda out: (out / RECORD).write_text("7"), "pack.json cannot be read"),
    ({}, lambda out: unfinish(out, pillow="1.0"), "(pillow: asked "),
    ({}, lambda out: unfinish(out, schema=9), "(schema: asked 1, found 9)"),
    ({}, lambda out: (out / "classes.txt").write_text("other\n"), "classes.txt names other classes than "),
    ({}, lambda out: shutil.rmtree(out) or out.write_text("mine"), "out is a file; name a folder"),
    ({"resize": 400}, Path.exists, "(resize: asked 400, found None)"),
    ({"seed": 1, "shard_images": 9}, Path.exists, "(shard_images: asked 9, found 4; seed: asked 1, found 0)"),
]


@pytest.mark.parametrize(("changes", "spoil", "reason"), REFUSED)
def test_a_folder_that_holds_anything_else_is_refused(
    source: Path, tmp_path: Path, changes: dict[str, float | None], spoil: Callable[[Path], object], reason: str
) -> None:
    out = tmp_path / "out"
    write(source, out)
    if not changes:  # a complete pack is not looked at any closer
        unfinish(out)
    spoil(out)
    before = contents(tmp_path)
    with pytest.raises(RefusedError, match=re.escape(reason)) as refusal:
        write(source, out, options(**changes))
    assert str(out) in str(refusal.value)
    assert "name " in str(refusal.value)
    assert contents(tmp_path) == before


def test_another_source_is_refused(source: Path, tmp_path: Path) -> None:
    write(source, tmp_path / "out")
    (source / "train/class0/0.png").rename(source / "train/class0/zero.png")
    with pytest.raises(RefusedError, match=r"out was packed otherwise \(source: asked \w+, found \w+\); name another"):
        write(source, tmp_path / "out")


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source/train/cat").mkdir(parents=True)
    with pytest.raises(RefusedError, match="source/train holds no image; there is nothing to pack"):
        write(tmp_path / "source", tmp_path / "out")


def test_a_class_with_a_line_break_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "source/train/two\nlines"
    folder.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    with pytest.raises(RefusedError, match="a class has a line break in its name"):
        write(tmp_path / "source", tmp_path / "out")


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """One large image many times over, more than the disk has room for."""
    Image.new("RGB", (1000, 1000)).save(tmp_path / "large.bmp")
    size = (tmp_path / "large.bmp").stat().st_size
    count = shutil.disk_usage(tmp_path).free // size * 2
    entries = [Entry(0, f"{number}.bmp", 0, 0, size) for number in range(count)]
    listing = Listing(root=tmp_path, classes=("a",), entries=entries, archives=("large.bmp",))
    with pytest.raises(
        RefusedError, match=r"out: needs about [\d,.]+ GB, and its disk has [\d,.]+ GB free; .*; --resize makes"
    ):
        pack.write(listing, tmp_path / "out", "train", OPTIONS, 1)
    assert not (tmp_path / "out").exists()


def test_broken_images_are_left_out_and_named(source: Path, tmp_path: Path) -> None:
    (source / "train/class0/2.png").write_bytes(b"")
    (source / "train/class1/3.png").write_bytes((source / "train/class1/3.png").read_bytes()[:60])
    (source / "train/class1/5.png").unlink()
    (source / "train/class1/5.png").symlink_to("nowhere")
    written = write(source, tmp_path / "out", options(max_broken=0.3))
    names = {"class0/2.png", "class1/3.png", "class1/5.png"}
    assert {name for name, _ in written.broken} == names
    assert all(reason and str(source) not in reason for _, reason in written.broken)
    assert written.images == 7
    assert not names & {entry.name for entry in shards.listing(tmp_path / "out", "train").entries}
    record = json.loads((tmp_path / "out" / RECORD).read_text())["splits"]["train"]
    assert {name for name, _ in record["broken"]} == names
    assert write(source, tmp_path / "out", options(max_broken=0.3)) == dataclasses.replace(written, new=0)


def test_more_broken_images_than_are_borne_end_the_pack(source: Path, tmp_path: Path) -> None:
    for number in (0, 2, 4):
        (source / f"train/class0/{number}.png").write_bytes(b"no image")
    with pytest.raises(TooManyBrokenSourcesError, match=r"of 10 images of .*source/train cannot be decoded") as raised:
        write(source, tmp_path / "out", options(max_broken=0.29))
    assert len(re.findall(r"\n  class0/[024]\.png: not an image: it begins with 6e 6f 20 69", str(raised.value))) == 3
    assert "accept them with --max-broken 0.3 or more" in str(raised.value)
    assert write(source, tmp_path / "out", options(max_broken=0.3)).images == 7


def test_a_folder_that_cannot_be_written_is_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory") as raised:
        write(source, tmp_path / "file/out")
    assert str(raised.value.filename).startswith(str(tmp_path / "file/out"))
    out = tmp_path / "out"
    (out / "train/.train-000000.tar.tmp").mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory") as raised:
        write(source, out)
    assert str(out / "train") in str(raised.value.filename)


@pytest.mark.parametrize(
    ("names", "samples"),
    [
        (["a/b.jpg", "a/c.jpg"], ["a/b.jpg", "a/c.jpg"]),
        (["a/b.jpg", "a/b.png"], ["a/b.jpg", "a/b_.png"]),
        (["a.b/c.d.jpg", "a.b/c_d.jpg"], ["a.b/c_d.jpg", "a.b/c_d_.jpg"]),
        (["a/.b.jpg"], ["a/_b.jpg"]),
        (["a/" + "b" * 200 + ".jpg"], ["a/" + "b" * 200 + ".jpg"]),
        (["a/\udcff.jpg", "ä/日 本.jpg"], ["a/\udcff.jpg", "ä/日 本.jpg"]),
    ],
)
def test_every_image_gets_a_name_of_its_own_that_the_layout_allows(
    tmp_path: Path, names: list[str], samples: list[str]
) -> None:
    for name in names:
        path = Path(os.fsdecode(os.fsencode(tmp_path / "source/train" / name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(path, "JPEG")
    entries = [Entry(0, name) for name in names]
    listing = Listing(root=tmp_path / "source/train", classes=("a",), entries=entries)
    pack.write(listing, tmp_path / "out", "train", OPTIONS, 1)
    assert {entry.name for entry in shards.listing(tmp_path / "out", "train").entries} == set(samples)


def test_images_without_a_header_are_packed_as_png(tmp_path: Path) -> None:
    planes = bytes(range(256)) * 12
    (tmp_path / "batch").write_bytes(b"head" + planes + planes[::-1])
    entries = [Entry(0, "batch/00000.png", 0, 4, 3072), Entry(1, "batch/00001.png", 0, 4 + 3072, 3072)]
    listing = Listing(root=tmp_path, classes=("b", "a"), entries=entries, archives=("batch",), raw=(32, 32))
    pack.write(listing, tmp_path / "out", "train", OPTIONS, 1)
    found = shards.listing(tmp_path / "out", "train")
    assert found.classes == ("b", "a")
    image = found.entries[1]
    (tmp_path / "x.png").write_bytes(listings.read(found.path(image), image.offset, image.size))
    with Image.open(tmp_path / "x.png") as opened:
        assert b"".join(plane.tobytes() for plane in opened.split()) == planes[::-1]

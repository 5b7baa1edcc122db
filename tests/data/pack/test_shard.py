import hashlib
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.catalog import listing as listings
from data.catalog import shards, tree
from data.catalog.listing import digest
from data.catalog.manifest import Manifest
from data.catalog.pack_record import PackOptions
from data.pack import pack
from data.pack.shard import END, Expected, checked, member


def jpeg(size: tuple[int, int], colour: str = "red") -> bytes:
    stream = BytesIO()
    Image.new("RGB", size, colour).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 3 classes of 8 images, and the same in 2 shards, below `out`."""
    root = tmp_path_factory.mktemp("root")
    for number in range(24):
        path = root / "train" / f"class {number % 3}" / f"image {number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg((20 + number, 30)))
    pack.write(tree.read(root / "train").listing(), root / "out", "train", PackOptions(shard_images=12), 1)
    return root


def test_dali_s_own_reader_reads_the_shards_by_the_index(packed: Path) -> None:
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn
    from nvidia.dali.pipeline import Pipeline

    folder = packed / "out/train"
    with Pipeline(batch_size=24, num_threads=1, device_id=None) as pipeline:
        images, labels = fn.readers.webdataset(
            paths=sorted(map(str, folder.glob("*.tar"))),
            index_paths=sorted(map(str, folder.glob("*.idx"))),
            ext=["JPEG", "cls"],
        )  # type: ignore[misc]
        pipeline.set_outputs(images, labels)
    pipeline.build()
    encoded, targets = ([np.array(output.at(row)).tobytes() for row in range(24)] for output in pipeline.run())  # type: ignore[union-attr]
    found = {hashlib.sha256(content).digest(): int(target) for content, target in zip(encoded, targets, strict=True)}
    listing = shards.listing(packed / "out", "train")
    assert found == {
        hashlib.sha256(listings.read(listing.path(entry), entry.offset, entry.size)).digest(): entry.target
        for entry in listing.entries
    }
    assert len(found) == 24


def test_tree_and_shards_give_manifests_of_the_same_fingerprint(packed: Path) -> None:
    from data.verify import verify

    def scanned(number: int) -> Manifest:
        listing = tree.read(packed / "train").listing() if number else shards.listing(packed / "out", "train")
        return verify.scan(listing, workers=1).manifest

    assert scanned(0).fingerprint() == scanned(1).fingerprint()


def test_the_manifest_of_the_shards_is_written_beside_them(packed: Path) -> None:
    from data.catalog import dataset

    found = pack.write_manifest(packed / "out", "train", 24, 1)
    loaded = dataset.find(packed / "out").manifest(packed / "out", "train")
    assert loaded.fingerprint() == found.fingerprint()
    assert (len(loaded), loaded.archives) == (24, ("train-000000.tar", "train-000001.tar"))
    assert not dataset.journal_file(packed / "out", "train").exists()
    (packed / "out/manifest-train.npz").write_bytes(b"damaged")
    assert pack.write_manifest(packed / "out", "train", 24, 1).fingerprint() == found.fingerprint()


def test_images_that_were_packed_and_do_not_decode_are_told(packed: Path) -> None:
    with pytest.raises(OSError, match="3 images that were written no longer decode"):
        pack.write_manifest(packed / "out", "train", 27, 1)


IMAGE = jpeg((9, 7))
MEANT = [Expected("a.jpg", digest(IMAGE), (9, 7))]


def test_the_index_tells_where_everything_lies(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(member("a.jpg", IMAGE) + member("a.cls", b"12") + END)
    start = 512 + (len(IMAGE) + 511) // 512 * 512 + 512
    assert checked(path, MEANT) == f"v1.1 1\njpg 512 {len(IMAGE)} cls {start} 2\n"


@pytest.mark.parametrize(
    ("spoil", "meant"),
    [
        (lambda content: content.replace(IMAGE[300:310], bytes(10), 1), MEANT),
        (lambda content: member("b.jpg", IMAGE) + content[len(member("a.jpg", IMAGE)) :], MEANT),
        (lambda content: content, [MEANT[0]._replace(size=(7, 9))]),
        (lambda content: content, [MEANT[0]._replace(digest=digest(b""))]),
    ],
)
def test_an_image_that_is_not_what_was_written_is_told(
    tmp_path: Path, spoil: Callable[[bytes], bytes], meant: list[Expected]
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(spoil(member("a.jpg", IMAGE) + member("a.cls", b"1") + END))
    with pytest.raises(OSError, match=r"reading a\.jpg back gave other bytes; is the disk failing\?"):
        checked(path, meant)


def test_an_encoded_image_that_does_not_decode_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(member("a.jpg", IMAGE[:-100]) + member("a.cls", b"1") + END)
    with pytest.raises(OSError, match=r"(?i)truncated"):
        checked(path, [Expected("a.jpg", digest(IMAGE[:-100]), (9, 7))])


@pytest.mark.parametrize(
    ("meant", "end"),
    [(MEANT * 2, END), ([], END), (MEANT, member("b.jpg", IMAGE) + END), (MEANT, b"")],
)
def test_other_files_than_were_written_are_told(tmp_path: Path, meant: list[Expected], end: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(member("a.jpg", IMAGE) + member("a.cls", b"1") + end)
    with pytest.raises(OSError, match=r"reading its files back gave other bytes; is the disk failing\?"):
        checked(path, meant)


def test_members_are_the_same_bytes_each_time_and_readable_by_others(tmp_path: Path) -> None:
    names = ["a.jpg", "with blank/käse.png", "x" * 300 + ".jpg"]
    assert member("a/b.jpg", b"xyz") == member("a/b.jpg", b"xyz")
    (tmp_path / "x.tar").write_bytes(b"".join(member(name, name.encode()) for name in names) + END)
    with tarfile.open(tmp_path / "x.tar") as archive:
        infos = archive.getmembers()
        assert [info.name for info in infos] == names
        assert {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info in infos} == {(0, 0, 0, "", 0o644)}
        assert [archive.extractfile(info).read().decode() for info in infos] == names  # type: ignore[union-attr]

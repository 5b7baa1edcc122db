import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import manifest, tree
from data.manifest import Manifest
from data.types import BrokenImageError

SIZES = [(30, 20), (20, 30), (17, 17), (64, 48), (5, 9)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat", "dög"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number, size in enumerate(SIZES):
            Image.new("RGB", size).save(tmp_path / "train" / name / f"{number}.JPEG")
    return tmp_path


def scan(root: Path) -> Manifest:
    return manifest.scan(tree.read(root, "train"), lambda *_: None)


def test_every_image_is_listed_with_class_and_sizes(root: Path) -> None:
    found = scan(root)
    assert len(found) == 10
    assert found.classes == ("cat", "dög")
    assert found.targets.tolist() == [0] * 5 + [1] * 5
    assert list(zip(found.widths, found.heights, strict=True)) == SIZES * 2
    assert [found.path(i) for i in (0, 4, 5, 9)] == [
        root / "train" / name for name in ("cat/0.JPEG", "cat/4.JPEG", "dög/0.JPEG", "dög/4.JPEG")
    ]
    assert found.sizes.tolist() == [found.path(i).stat().st_size for i in range(10)]


def test_what_is_saved_loads_as_the_same(root: Path) -> None:
    found = scan(root)
    found.save(root / "m.npz")
    loaded = manifest.load(root / "m.npz", root / "train")
    assert loaded.fingerprint() == found.fingerprint()
    assert loaded.path(7) == found.path(7)


def test_the_fingerprint_follows_the_images_and_not_the_place(root: Path) -> None:
    first = scan(root).fingerprint()
    shutil.copytree(root / "train", root / "moved" / "train")
    assert scan(root / "moved").fingerprint() == first
    (root / "moved" / "train" / "cat" / "0.JPEG").rename(root / "moved" / "train" / "cat" / "zero.JPEG")
    assert scan(root / "moved").fingerprint() != first


def test_another_version_s_file_is_refused(root: Path) -> None:
    np.savez(root / "m.npz", schema=99)
    with pytest.raises(ValueError, match="is no manifest: version 99"):
        manifest.load(root / "m.npz", root / "train")


def test_sizes_are_those_of_the_stored_image_not_of_the_one_turned_by_exif(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (30, 20)).save(root / "train" / "cat" / "0.JPEG", exif=exif)
    found = scan(root)
    assert (found.widths[0], found.heights[0]) == (30, 20)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\xff\xd8\xff\xe0"])
def test_files_that_are_no_images_are_named(root: Path, content: bytes) -> None:
    (root / "train" / "cat" / "2.JPEG").write_bytes(content)
    with pytest.raises(BrokenImageError, match=r"1 of 10 files cannot be read as images[^@]*cat/2\.JPEG"):
        scan(root)


def test_a_changed_tree_is_noticed(root: Path) -> None:
    found = scan(root)
    assert found.changed() is None
    Image.new("RGB", (100, 100)).save(root / "train" / "cat" / "3.JPEG")
    assert str(found.changed()).startswith(str(root / "train" / "cat" / "3.JPEG"))
    (root / "train" / "cat" / "0.JPEG").unlink()
    assert "No such file" in str(found.changed())

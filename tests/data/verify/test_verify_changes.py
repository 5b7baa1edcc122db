"""What became of a data set after it was listed shows, and the mend can be told."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.catalog import dataset, tree
from data.catalog.layout import Layout
from data.catalog.listing import SPLITS, Entry, Listing
from data.catalog.manifest import Manifest, load
from data.verify import verify
from data.verify.changes import FILES, changed

LATER = 2_000_000_000_000_000_000


def save(file: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, "BMP")  # every file of the same size


def scan(root: Path) -> Manifest:
    return verify.scan(tree.read(root / "train").listing(), workers=1).manifest


def touch(path: Path) -> None:
    os.utime(path, ns=(LATER, LATER))


@pytest.fixture
def train(tmp_path: Path) -> Path:
    for number in range(8):
        save(tmp_path / "train" / "ab"[number % 2] / f"{number}.JPEG", number)
    save(tmp_path / "train" / "a" / "deep" / "9.JPEG", 9)
    (tmp_path / "train" / "b" / "bad.JPEG").write_bytes(b"")
    return tmp_path / "train"


@pytest.fixture
def listed(train: Path, tmp_path: Path) -> Manifest:
    scan(tmp_path).save(tmp_path / "m.npz")
    return load(tmp_path / "m.npz", train)


def test_an_untouched_data_set_and_a_moved_one_have_not_changed(train: Path, tmp_path: Path, listed: Manifest) -> None:
    assert changed(listed) is None
    train.rename(tmp_path / "moved")
    assert changed(listed) == f"{train}: no such folder"
    assert changed(load(tmp_path / "m.npz", tmp_path / "moved")) is None


def test_the_halves_of_one_folder_are_not_new_to_each_other(train: Path, tmp_path: Path) -> None:
    """A hidden file, as systems write them, changes the time of a folder, and no image."""
    data = dataset.find(tmp_path, Layout(val_share=0.3))
    halves = {split: verify.scan(data.listing(split), workers=1).manifest for split in SPLITS}
    (train / "a" / ".DS_Store").write_bytes(b"")
    (train / "a" / "deep" / ".DS_Store").write_bytes(b"")
    assert [changed(half) for half in halves.values()] == [None, None]
    for number in range(10, 20):
        save(train / "a" / f"{number}.JPEG", number)
    for split, half in halves.items():
        new = {entry.name for entry in data.listing(split).entries} - set(map(half.name, range(len(half))))
        assert changed(half) == f"{train}/{min(name for name in new if name.startswith('a/'))}: not listed"


def test_a_copy_with_new_times_has_not_changed(train: Path, tmp_path: Path, listed: Manifest) -> None:
    shutil.copytree(train, tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").rglob("*"):
        touch(path)
    assert len(listed) == 9
    assert changed(load(tmp_path / "m.npz", tmp_path / "copy")) is None


def test_another_size_is_named(train: Path, listed: Manifest) -> None:
    with (train / "b/3.JPEG").open("ab") as file:
        file.write(b"more")
    assert changed(listed) == f"{train}/b/3.JPEG: 250 bytes, listed with 246"


def test_another_content_of_the_same_size_is_named(train: Path, listed: Manifest) -> None:
    save(train / "b/3.JPEG", 99)
    touch(train / "b/3.JPEG")
    assert str(changed(listed)).startswith(f"{train}/b/3.JPEG: other content: hash ")


def test_another_time_alone_is_no_change(train: Path, listed: Manifest) -> None:
    touch(train / "b/3.JPEG")
    touch(train / "b")
    assert changed(listed) is None


@pytest.mark.parametrize(
    ("add", "message"),
    [
        ("b/new.JPEG", "b/new.JPEG: not listed"),
        ("b/new/deeper/0.JPEG", "b/new: not listed"),
        ("a/deep/new.png", "a/deep/new.png: not listed"),
        ("c/0.JPEG", "c: not listed"),
    ],
)
def test_what_was_added_is_named(train: Path, listed: Manifest, add: str, message: str) -> None:
    save(train / add, 5)
    assert changed(listed) == f"{train}/{message}"


@pytest.mark.parametrize("add", ["b/readme.txt", "b/.cache/index", ".hidden/0.JPEG"])
def test_what_is_no_image_of_the_split_may_be_added(train: Path, listed: Manifest, add: str) -> None:
    (train / add).parent.mkdir(exist_ok=True)
    (train / add).write_bytes(b"nothing")
    assert changed(listed) is None


def test_hidden_images_that_an_older_version_listed_are_no_change(train: Path, listed: Manifest) -> None:
    (train / "b/3.JPEG").rename(train / "b/._3.JPEG")
    older = replace(listed, names=np.frombuffer(listed.names.tobytes().replace(b"b/3.JPEG", b"b/._3.JPEG"), np.uint8))
    starts = np.cumsum(np.array([len(b"b/._3.JPEG") - len(b"b/3.JPEG")]))
    row = [listed.name(each) for each in range(len(listed))].index("b/3.JPEG")
    older = replace(older, ends=older.ends + np.where(np.arange(len(listed)) >= row, starts[0], 0))
    assert changed(older) is None
    (train / "b/._3.JPEG").unlink()
    assert changed(older) == f"{train}/b/._3.JPEG: listed, but no longer there"


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("b/3.JPEG", "b/3.JPEG: listed, but no longer there"),
        ("b/bad.JPEG", "b/bad.JPEG: listed, but no longer there"),
        ("a/deep/9.JPEG", "a/deep/9.JPEG: listed, but no longer there"),
        ("a/deep", "a/deep: No such file or directory"),
        ("b", "b: No such file or directory"),
    ],
)
def test_what_was_removed_is_named(train: Path, listed: Manifest, remove: str, message: str) -> None:
    shutil.rmtree(train / remove) if (train / remove).is_dir() else (train / remove).unlink()
    assert changed(listed) == f"{train}/{message}"


def test_a_file_that_became_a_folder_is_named(train: Path, listed: Manifest) -> None:
    (train / "b/3.JPEG").unlink()
    (train / "b/3.JPEG").mkdir()
    assert str(changed(listed)).startswith(f"{train}/b/3.JPEG: ")


def test_among_many_new_folder_times_the_latest_are_looked_at(tmp_path: Path) -> None:
    for number in range(80):
        save(tmp_path / "train" / f"c{number:02}" / "0.JPEG", number)
    listed = scan(tmp_path)
    for folder in (tmp_path / "train").iterdir():
        touch(folder)
    assert changed(listed) is None
    save(tmp_path / "train/c79/new.JPEG", 5)
    os.utime(tmp_path / "train/c79", ns=(LATER + 1, LATER + 1))
    assert changed(listed) == f"{tmp_path}/train/c79/new.JPEG: not listed"


def test_of_many_files_some_are_looked_at_first_and_last_among_them(tmp_path: Path) -> None:
    for number in range(3 * FILES):
        save(tmp_path / "train" / "a" / f"{number:03}.JPEG", number)
    listed = scan(tmp_path)
    for number in (0, 3 * FILES - 1):
        with (tmp_path / "train/a" / f"{number:03}.JPEG").open("ab") as file:
            file.write(b"more")
        assert str(changed(listed)).startswith(f"{tmp_path}/train/a/{number:03}.JPEG: 250 bytes")
        os.truncate(tmp_path / "train/a" / f"{number:03}.JPEG", 246)


@pytest.fixture
def archived(tmp_path: Path) -> Manifest:
    """Two archives of three bare images each, of one pixel."""
    for name in ("x.bin", "y.bin"):
        (tmp_path / name).write_bytes(bytes(range(9)))
    entries = [Entry(0, f"{number}.png", number // 3, number % 3 * 3, 3) for number in range(6)]
    listing = Listing(root=tmp_path, classes=("a",), entries=entries, archives=("x.bin", "y.bin"), raw=(1, 1))
    return verify.scan(listing, workers=1).manifest


def test_a_shard_more_is_named_and_other_files_beside_shards_are_not(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(bytes(3))
    listing = Listing(root=tmp_path, classes=("a",), entries=[Entry(0, "0", 0, 0, 3)], archives=("0.tar",), raw=(1, 1))
    found = verify.scan(listing, workers=1).manifest
    for name in ("0.json", ".1.tar"):
        (tmp_path / name).touch()
    assert changed(found) is None
    (tmp_path / "1.tar").touch()
    assert changed(found) == f"{tmp_path}/1.tar: not listed"


def test_archives_that_changed_are_named(tmp_path: Path, archived: Manifest) -> None:
    assert changed(archived) is None
    touch(tmp_path / "y.bin")
    assert changed(archived) is None
    (tmp_path / "y.bin").write_bytes(bytes(range(8)) + b"?")
    touch(tmp_path / "y.bin")
    assert str(changed(archived)).startswith(f"{tmp_path}/y.bin: 5.png: other content: hash ")
    (tmp_path / "y.bin").write_bytes(bytes(10))
    assert changed(archived) == f"{tmp_path}/y.bin: 10 bytes, listed with 9"
    (tmp_path / "y.bin").unlink()
    assert changed(archived) == f"{tmp_path}/y.bin: No such file or directory"

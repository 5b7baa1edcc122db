import gzip
from collections import Counter
from pathlib import Path

import pytest

from data.catalog.archive import ArchiveError
from data.prepare import ilsvrc
from tests.data import archives
from tests.data.archives import entity, leaf


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_devkit_gives_classes_by_synset_and_those_of_the_validation_images(tmp_path: Path) -> None:
    devkit = ilsvrc.read_devkit(archives.imagenet(tmp_path)["devkit"])
    assert list(devkit.train_counts.items()) == [("n01440764", 4), ("n02119789", 4), ("n03000684", 4)]
    assert devkit.truth == ["n03000684", "n02119789", "n01440764", "n01440764", "n03000684", "n02119789"]


def test_a_devkit_of_the_official_size_is_read(tmp_path: Path) -> None:
    """1,000 classes, and 860 synsets above them, which are none."""
    leaves = [leaf(f"n{90_000_000 - number:08d}", number, 700 + number % 601) for number in range(1, 1001)]
    content = archives.devkit([*leaves, *map(entity, range(1001, 1861))], truth=[i % 1000 + 1 for i in range(50_000)])
    devkit = ilsvrc.read_devkit(write(tmp_path / "d.tar.gz", content))
    assert list(devkit.train_counts) == sorted(f"n{90_000_000 - number:08d}" for number in range(1, 1001))
    assert devkit.train_counts["n89999999"] == 701
    assert set(Counter(devkit.truth).values()) == {50}
    assert devkit.truth[:2] == ["n89999999", "n89999998"]


def test_a_devkit_without_counts_will_do(tmp_path: Path) -> None:
    rows = [{key: value for key, value in leaf("n01440764", 1).items() if key != "num_train_images"}]
    assert ilsvrc.read_devkit(write(tmp_path / "d", archives.devkit(rows, [1]))).train_counts == {"n01440764": None}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty header"),
        (gzip.compress(b"no archive", mtime=0), "truncated header"),
        (archives.devkit(top="ILSVRC2010_devkit"), "lacks .*ILSVRC2012_devkit_t12/data/meta.mat"),
        (archives.devkit(truth=[1, 2, "x"]), "invalid literal"),
        (archives.devkit(truth=[1, 5]), "lacks 5"),
        (archives.devkit([{"ILSVRC2012_ID": 1, "num_children": 0}]), "lacks 'WNID'"),
        (gzip.compress(archives.tar({ilsvrc.META: b"x", ilsvrc.TRUTH: b"1"})), "no MATLAB file of version 5"),
    ],
)
def test_something_else_is_no_devkit(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=f"^{tmp_path}/d.tar.gz: no (ILSVRC2012 devkit|tar archive).*{reason}"):
        ilsvrc.read_devkit(write(tmp_path / "d.tar.gz", content))


def test_a_devkit_that_is_cut_is_refused_though_all_that_is_needed_may_be_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"d\.tar\.gz: no gzip file, or a damaged one"):
        ilsvrc.read_devkit(write(tmp_path / "d.tar.gz", archives.devkit()[:-1]))


def test_images_are_found_within_archives_within_the_archive(tmp_path: Path) -> None:
    path = archives.imagenet(tmp_path)["train_tar"]
    whole = path.read_bytes()
    found = {
        inner.wnid: {name: whole[offset : offset + size] for name, offset, size in ilsvrc.images_of(inner)}
        for inner in ilsvrc.classes_in(path)
    }
    assert found == archives.train_images()


def test_validation_images_are_found_by_number(tmp_path: Path) -> None:
    path = archives.imagenet(tmp_path)["val_tar"]
    whole, found = path.read_bytes(), ilsvrc.val_images(path)
    contents = {ilsvrc.val_name(number): whole[at : at + size] for number, (_, at, size) in found.items()}
    assert contents == archives.val_images()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("n01440764/n01440764_1.JPEG", "is no image of this class, as n01440764_10026.JPEG would be"),
        ("n02119789_1.JPEG", "is no image of this class"),
        ("n01440764_1.txt", "is no image of this class"),
        ("../n01440764_1.JPEG", "leads out of the folder"),
    ],
)
def test_a_strange_file_in_the_archive_of_a_class_is_refused(tmp_path: Path, member: str, reason: str) -> None:
    path = write(tmp_path / "t.tar", archives.tar({"n01440764.tar": archives.tar({member: b"x"})}))
    (inner,) = ilsvrc.classes_in(path)
    with pytest.raises(ArchiveError, match=f"^{path}: n01440764.tar: {member} {reason}"):
        ilsvrc.images_of(inner)


def test_archives_that_were_mixed_up_are_refused(tmp_path: Path) -> None:
    paths = archives.imagenet(tmp_path)
    with pytest.raises(ArchiveError, match=r"ILSVRC2012_val_00000001.JPEG is not the archive of a class"):
        list(ilsvrc.classes_in(paths["val_tar"]))
    with pytest.raises(ArchiveError, match=r"n01440764.tar is no image, as ILSVRC2012_val_00000001.JPEG would be"):
        ilsvrc.val_images(paths["train_tar"])

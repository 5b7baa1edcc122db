import tarfile
from pathlib import Path

import pytest

from data.catalog import dataset
from data.catalog.cifar import CifarError
from data.catalog.dataset import DataSet
from data.catalog.pack_record import RECORD
from tests.data.cifar_files import cifar10, cifar100


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_a_tree_is_what_nothing_else_is(tmp_path: Path) -> None:
    touch(tmp_path / "train/a/1.JPEG", tmp_path / "val/a/1.JPEG", tmp_path / "meta")
    data = dataset.find(tmp_path)
    assert data == DataSet(tmp_path)
    assert (data.archived("train"), data.folder("val")) == (False, tmp_path / "val")
    assert [entry.name for entry in data.listing("train").entries] == ["a/1.JPEG"]
    assert dataset.find(tmp_path / "absent") == DataSet(tmp_path / "absent")


def test_each_split_may_be_shards(tmp_path: Path) -> None:
    touch(tmp_path / "train/a/1.JPEG")
    (tmp_path / "val").mkdir()
    tarfile.open(tmp_path / "val/x.tar", "w").close()
    data = dataset.find(tmp_path)
    assert data.sharded == {"val"}
    assert (data.archived("train"), data.archived("val"), data.folder("val")) == (False, True, tmp_path / "val")
    (tmp_path / RECORD).touch()  # a pack that was begun
    assert dataset.find(tmp_path).sharded == {"train", "val"}


def test_cifar_is_one_of_two_and_of_both_one_must_be_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    data = dataset.find(tmp_path)
    assert (data.archived("val"), data.folder("val")) == (True, tmp_path / "cifar-10-batches-py")
    assert (data.problems(tmp_path, tmp_path, 10, 1), data.misplaced(), data.glance("val", 1)) == ([], None, None)
    cifar100(tmp_path)
    both = dataset.find(tmp_path)
    reason = f"{tmp_path} holds CIFAR-10 and CIFAR-100; name the folder of one, such as {tmp_path}/cifar-10-batches-py"
    for use in (lambda: both.listing("val"), lambda: both.folder("val"), lambda: both.manifest(tmp_path, "val")):
        with pytest.raises(CifarError, match=reason):
            use()
    assert both.problems(tmp_path, tmp_path, 10, 1) == [f"--data: {reason}"]

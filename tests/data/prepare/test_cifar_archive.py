import gzip
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from data.catalog import dataset
from data.catalog.cifar import CifarError
from data.output_folder import RefusedError
from data.prepare.cifar_archive import OFFICIAL, Name, prepare
from data.prepare.prepared import RECORD
from tests.data.archives import tar

PEERS = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
CLASSES = {"cifar10": 10, "cifar100": 100}


def files(name: Name) -> dict[str, bytes]:
    """The files in the form of the official ones, with a few images in each."""
    coarse = {"coarse_labels": [0, 1, 0]} if name == "cifar100" else {}
    labels, names = ("labels", "label_names") if name == "cifar10" else ("fine_labels", "fine_label_names")
    found: dict[str, bytes] = {}
    for number, file in enumerate(OFFICIAL[name].md5):
        pixels = np.random.default_rng(number).integers(0, 256, (3, 3072), np.uint8)
        batch = {"data": pixels, labels: [1, 0, number], "filenames": ["a.png", "b.png", "c.png"], **coarse}
        meta = {names: [f"class{number:03d}" for number in range(CLASSES[name])]}
        found[file] = pickle.dumps(meta if "meta" in file else batch, protocol=4)
    return found


def archive(folder: Path, name: Name, contents: dict[str, bytes]) -> Path:
    path = folder / f"{name}.tar.gz"
    members = {f"{OFFICIAL[name].folder}/{file}": content for file, content in contents.items()}
    path.write_bytes(gzip.compress(tar(members), compresslevel=1))
    return path


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_official_sums_are_torchvision_s(name: Name) -> None:
    peer = PEERS[name]
    sums = dict([*peer.train_list, *peer.test_list, (peer.meta["filename"], peer.meta["md5"])])
    assert (OFFICIAL[name].folder, OFFICIAL[name].md5) == (peer.base_folder, sums)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_files_lie_where_torchvision_and_training_look(tmp_path: Path, name: Name) -> None:
    contents = files(name)
    path = archive(tmp_path, name, {**contents, "readme.html": b"<html>"})
    prepared = prepare(tmp_path / "out", path, name, partial=True)
    folder = tmp_path / "out" / OFFICIAL[name].folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == contents
    train = 3 * len(PEERS[name].train_list)
    assert (prepared.contents.train, prepared.contents.val, prepared.contents.classes) == (train, 3, CLASSES[name])
    assert len(dataset.find(tmp_path / "out").listing("train").entries) == train
    again = prepare(tmp_path / "out", path, name, partial=True)
    assert (again.written, again.contents) == (0, prepared.contents)


def test_files_that_are_not_the_official_ones_are_refused_and_named(tmp_path: Path) -> None:
    path = archive(tmp_path, "cifar100", {**files("cifar100"), "train": b"x"})
    said = refusal(lambda: prepare(tmp_path / "out", path, "cifar100")).splitlines()
    assert len(said) == 4
    assert said[0] == (
        f"--archive: {path}: train is not the official file: its MD5 is 9dd4e461268c8034f5c8564e155c67a6, "
        "which should be 16019d7e3df5f24257cddd939b257f8d"
    )
    assert said[-1] == "to prepare such files all the same, add --partial"
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_missing_is_named_whatever_is_accepted(tmp_path: Path) -> None:
    contents = files("cifar10")
    del contents["data_batch_3"], contents["batches.meta"]
    path = archive(tmp_path, "cifar10", contents)
    assert refusal(lambda: prepare(tmp_path / "out", path, "cifar10", partial=True)).splitlines() == [
        f"--archive: {path} holds no cifar-10-batches-py/data_batch_3",
        f"--archive: {path} holds no cifar-10-batches-py/batches.meta",
    ]


def test_the_archive_of_the_other_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, "cifar10", files("cifar10"))
    assert "holds no cifar-100-python/train" in refusal(
        lambda: prepare(tmp_path / "out", path, "cifar100", partial=True)
    )


def test_files_that_cannot_be_read_are_not_put_on_record(tmp_path: Path) -> None:
    path = archive(tmp_path, "cifar10", {**files("cifar10"), "test_batch": b"x"})
    for _ in range(2):
        with pytest.raises(CifarError, match="test_batch cannot be read"):
            prepare(tmp_path / "out", path, "cifar10", partial=True)
    assert "contents" not in (tmp_path / "out" / RECORD).read_text()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, "cifar100", files("cifar100"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    said = refusal(lambda: prepare(tmp_path / "out", path, "cifar100", partial=True))
    assert said == f"{tmp_path}/out holds mine, no part of this data set; name another folder, or delete it"

import hashlib
import pickle
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.catalog import cifar, dataset
from data.catalog import listing as listings
from data.catalog.cifar import CifarError
from data.catalog.listing import Entry, Listing
from tests.data.cifar_files import CLASSES10, CLASSES100, TRAIN10, batch, cifar10, cifar100, python2, python3

WRITERS = [python2, python3, partial(python3, protocol=5)]


def content(listing: Listing, entry: Entry) -> bytes:
    return listings.read(listing.path(entry), entry.offset, entry.size)


@pytest.mark.parametrize("dumps", WRITERS)
@pytest.mark.parametrize(
    ("write", "batches", "labels", "classes"),
    [
        (cifar10, {"train": TRAIN10, "val": ["test_batch"]}, "labels", CLASSES10),
        (cifar100, {"train": ["train"], "val": ["test"]}, "fine_labels", CLASSES100),
    ],
)
def test_every_image_is_found_with_its_class_and_its_bytes(
    tmp_path: Path, write: Any, batches: dict[str, list[str]], labels: str, classes: list[str], dumps: Any
) -> None:
    files = write(tmp_path, dumps)
    for split, names in batches.items():
        listing = dataset.find(tmp_path).listing(split)
        assert (listing.classes, listing.archives, listing.raw) == (tuple(classes), tuple(names), (32, 32))
        assert listing.entries == sorted(listing.entries)
        found = {entry.name: (entry.target, content(listing, entry)) for entry in listing.entries}
        assert found == {
            f"{name}/{row:05d}_{files[name]['filenames'][row]}": (target, files[name]["data"][row].tobytes())
            for name in names
            for row, target in enumerate(files[name][labels])
        }


@pytest.mark.slow  # to load torchvision
def test_images_and_targets_are_those_of_torchvision(tmp_path: Path) -> None:
    from torchvision.datasets import CIFAR10

    cifar10(tmp_path)

    def sums(*names: str) -> list[list[str]]:
        return [[name, hashlib.md5((tmp_path / CIFAR10.base_folder / name).read_bytes()).hexdigest()] for name in names]

    class Ours(CIFAR10):  # the same but for the sums that guard the official files
        train_list, test_list = sums(*TRAIN10), sums("test_batch")
        meta = {**CIFAR10.meta, "md5": sums("batches.meta")[0][1]}  # noqa: RUF012

    for split in ("train", "val"):
        theirs, ours = Ours(str(tmp_path), train=split == "train"), dataset.find(tmp_path).listing(split)
        assert tuple(theirs.classes) == ours.classes
        rows = [(entry.archive, entry.offset, entry) for entry in ours.entries]
        assert [entry.target for _, _, entry in sorted(rows)] == theirs.targets
        for row, (_, _, entry) in enumerate(sorted(rows)):
            pixels = np.frombuffer(content(ours, entry), np.uint8).reshape(3, 32, 32)
            assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(theirs[row][0]))


def test_its_own_folder_may_be_named_as_well(tmp_path: Path) -> None:
    cifar10(tmp_path)
    assert dataset.find(tmp_path / "cifar-10-batches-py").listing("val") == dataset.find(tmp_path).listing("val")
    assert dataset.find(tmp_path / "cifar-10-batches-py").folder("train") == dataset.find(tmp_path).folder("train")


def test_a_data_set_is_known_by_its_files(tmp_path: Path) -> None:
    assert not cifar.find(tmp_path)
    (tmp_path / "meta").touch()  # as many folders have one
    assert not cifar.find(tmp_path)
    cifar100(tmp_path)
    assert cifar.find(tmp_path)
    assert dataset.find(tmp_path).listing("val").raw == (32, 32)


def test_of_two_data_sets_one_must_be_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    cifar100(tmp_path)
    with pytest.raises(CifarError, match=r"holds CIFAR-10 and CIFAR-100; name the folder of one, such as .*-py"):
        dataset.find(tmp_path).listing("train")
    assert dataset.find(tmp_path / "cifar-100-python").listing("train").classes == tuple(CLASSES100)


def test_images_without_file_names_are_numbered(tmp_path: Path) -> None:
    cifar10(tmp_path)
    images = batch(0, 3, "labels", 10)
    del images["filenames"]
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(python2(images))
    names = sorted(entry.name for entry in dataset.find(tmp_path).listing("val").entries)
    assert names == [f"test_batch/0000{row}.png" for row in range(3)]


def test_names_that_are_no_text_are_not_written_out(tmp_path: Path) -> None:
    cifar10(tmp_path)
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(python3(batch(0, 4, "labels", 10) | {"filenames": [nested()] * 4}))
    assert next(entry.name for entry in dataset.find(tmp_path).listing("val").entries).startswith("test_batch/0000")


def test_a_file_name_cannot_lead_elsewhere(tmp_path: Path) -> None:
    cifar10(tmp_path)
    images = batch(0, 1, "labels", 10) | {"filenames": ["../../etc/passwd"]}
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(python2(images))
    assert [entry.name for entry in dataset.find(tmp_path).listing("val").entries] == ["test_batch/00000_passwd"]


class Attack:
    """What runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("file", ["test_batch", "batches.meta"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_runs_no_code(tmp_path: Path, file: str, protocol: int) -> None:
    cifar10(tmp_path)
    mark = tmp_path / "mark"
    path = tmp_path / "cifar-10-batches-py" / file
    path.write_bytes(pickle.dumps({"data": Attack(f"touch {mark}")}, protocol))
    with pytest.raises(CifarError, match=rf"{file} cannot be read: it asks for posix\.system, which no file of CIFAR"):
        dataset.find(tmp_path).listing("val")
    assert not mark.exists()


@pytest.mark.parametrize(
    "code", [b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."]
)
def test_nothing_else_can_be_asked_for(tmp_path: Path, code: bytes) -> None:
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py/batches.meta").write_bytes(code)
    with pytest.raises(CifarError, match=r"it asks for (builtins\.eval|numpy\.load|os\.system), which"):
        dataset.find(tmp_path).listing("val")


def changed(**changes: Any) -> Callable[[], bytes]:
    return lambda: python2(batch(0, 4, "labels", 10) | changes)


def shuffled() -> bytes:
    """As if someone had stored the pixels by column."""
    images = batch(0, 4, "labels", 10)
    return python3(images | {"data": np.asfortranarray(images["data"])})


def nested() -> list[Any]:
    """To write it out would take all memory."""
    return reduce(lambda inner, _: [inner] * 10, range(40), ["x"])


def one_row_many_times() -> bytes:
    """A pickle of 100 bytes that makes an array of a gigabyte."""
    shape = b"J\x00\x00\x05\x00M\x00\x0c\x86"
    array = b"cnumpy\nndarray\n" + shape + b"cnumpy\ndtype\nU\x02u1\x85R\x86R"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels]u."


@pytest.mark.parametrize(
    ("file", "make", "reason"),
    [
        ("test_batch", lambda: b"", "test_batch cannot be read: Ran out of input; unpack the official archive again"),
        ("test_batch", lambda: python2(batch(0, 9, "labels", 10))[:9000], "test_batch cannot be read: "),
        ("test_batch", lambda: b"\x1f\x8b" + bytes(99), "test_batch cannot be read: "),
        ("test_batch", lambda: python2([1, 2]), "test_batch holds no dictionary"),
        ("test_batch", lambda: python2({"labels": [1]}), "test_batch has no array 'data' of rows of 3,072 bytes"),
        ("test_batch", lambda: python3({"data": np.zeros((2, 3072))}), "test_batch has no array 'data' of rows of"),
        ("test_batch", lambda: python3({"data": np.zeros((2, 3, 32, 32), "u1")}), "test_batch has no array 'data'"),
        ("test_batch", shuffled, "test_batch does not hold its pixels in one block, as the official files do"),
        ("test_batch", changed(labels="none"), "test_batch lacks 'labels', one for each of 4 images; unpack it again"),
        ("test_batch", changed(labels=[1, 2]), "test_batch lacks 'labels', one for each of 4 images"),
        ("test_batch", changed(labels=[1, 2, 3, 10]), "test_batch has the label 10, but there are 10 classes"),
        ("test_batch", changed(labels=[1, 2, 3, "cat"]), "test_batch has the label 'str', but there are 10 classes"),
        (
            "test_batch",
            lambda: python3(batch(0, 4, "labels", 10) | {"labels": [1, 2, 3, nested()]}),
            "test_batch has the label 'list', but there are 10 classes",
        ),
        (
            "test_batch",
            lambda: python3(batch(0, 4, "labels", 10) | {"labels": [10**5000] * 4}),
            "has the label 'int', but",
        ),
        ("test_batch", one_row_many_times, "test_batch does not hold its pixels in one block"),
        ("batches.meta", lambda: python3({"label_names": ["\ud800"] * 10}), "batches.meta has no list of names"),
        ("batches.meta", lambda: python2({"num_vis": 3072}), "batches.meta has no list of names 'label_names'"),
        ("batches.meta", lambda: python2({"label_names": [1]}), "batches.meta has no list of names 'label_names'"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_told(
    tmp_path: Path, file: str, make: Callable[[], bytes], reason: str
) -> None:
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / file).write_bytes(make())
    with pytest.raises(CifarError, match=reason) as raised:
        dataset.find(tmp_path).listing("val")
    assert str(raised.value).startswith(str(tmp_path / "cifar-10-batches-py" / file))


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(CifarError, match="data_batch_3 is missing; unpack the official archive again"):
        dataset.find(tmp_path).listing("train")
    assert len(dataset.find(tmp_path).listing("val").entries) == 20

from pathlib import Path

import pytest

from data.catalog import dataset
from tests.data.cifar_files import cifar10, cifar100
from trainer.evaluation import image_set
from trainer.evaluation.image_set import ImageSet


def made(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def test_a_data_set_is_evaluated_on_its_validation_part(tmp_path: Path) -> None:
    data = made(tmp_path / "set", "train/a/1.JPEG", "val/a/1.JPEG")
    found = image_set.find(data)
    assert (found, found.is_val, found.name, found.folder) == (
        ImageSet(dataset.find(data), "val"),
        True,
        "val",
        data / "val",
    )
    assert image_set.problems(data) == []
    assert image_set.stored(found, None) == [data / "manifest-val.npz"]
    assert image_set.stored(found, tmp_path / "run")[0] == tmp_path / "run" / "manifest-val.npz"


def test_the_validation_part_itself_may_be_named(tmp_path: Path) -> None:
    data = made(tmp_path / "set", "val/a/1.JPEG")
    found = image_set.find(data / "val")
    assert found == ImageSet(dataset.find(data), "val")
    assert image_set.stored(found, None) == [data / "manifest-val.npz"]


def test_a_folder_of_class_folders_is_a_set_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(tmp_path / "imagenet-r", "n01440764/1.jpg")
    monkeypatch.chdir(tmp_path)
    for named in (data, Path("imagenet-r")):
        found = image_set.find(named)
        assert (found.name, found.folder, found.is_val) == ("imagenet-r", data, False)
        assert image_set.problems(named) == []
        assert image_set.stored(found, tmp_path / "run") == []


def test_where_there_is_nothing_to_evaluate_on_it_is_said(tmp_path: Path) -> None:
    flat = made(tmp_path / "flat", "val/ILSVRC2012_val_00000001.JPEG")
    empty = made(tmp_path / "empty", "n01440764/readme.txt")
    sorting = "its images must be sorted into class folders, or --val-labels FILE names their classes"
    expected = "expected DATA/val/<class>/*.JPEG, or DATA/<class>/*.JPEG"
    assert image_set.problems(tmp_path / "no") == [f"--data: {tmp_path / 'no'} does not exist; {expected}"]
    assert image_set.problems(empty / "n01440764" / "readme.txt")[0].endswith(f"readme.txt is not a folder; {expected}")
    assert image_set.problems(flat) == [f"--data: {flat / 'val'} holds no class folder; {sorting}; {expected}"]
    assert image_set.problems(empty) == [f"--data: {empty} holds no image; {expected}"]


def test_cifar_is_evaluated_on_its_own_folder_and_of_two_one_must_be_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    assert image_set.problems(tmp_path) == []
    assert image_set.find(tmp_path).folder == tmp_path / "cifar-10-batches-py"
    cifar100(tmp_path)
    (problem,) = image_set.problems(tmp_path)
    assert problem.startswith(f"--data: {tmp_path} holds CIFAR-10 and CIFAR-100; name the folder of one")

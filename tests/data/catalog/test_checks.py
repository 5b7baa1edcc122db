from pathlib import Path

import pytest

from data.catalog.checks import all_problems, nothing, problems
from data.catalog.listing import Contents

Classes = dict[str, int]


def split(name: str, classes: Classes) -> Contents:
    empty = [each for each, images in classes.items() if not images]
    return Contents(Path(name), tuple(classes), empty, sum(classes.values()))


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [
        ({"a": 2, "b": 2}, {"a": 1, "b": 1}, []),
        ({"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, ["--data: val holds class c, which train lacks"]),
        ({"a": 1, "b": 1}, {"a": 1}, ["--data: train holds class b, which val lacks"]),
        ({"a": 1, "b": 0}, {"a": 1, "b": 1}, ["--data: train has no image in class b"]),
        ({"a": 4}, {"a": 1}, ["--data: train holds a single class, a; a classifier needs two"]),
        (
            {"a": 1, "b": 1, "c": 1},
            {"a": 1, "b": 1, "c": 1},
            [
                "model.num_classes: 2, but train holds 3 classes; use --model.num-classes 3",
                "global_batch: 4, but train holds only 3 images; use --global-batch 3",
            ],
        ),
    ],
)
def test_what_is_wrong_is_named(train: Classes, val: Classes, expected: list[str]) -> None:
    assert all_problems(split("train", train), split("val", val), 2, 4) == expected


def test_many_classes_are_counted_and_not_listed() -> None:
    names = {f"c{number:03}": 1 for number in range(200)}
    (problem,) = problems(split("train", names), split("val", {"c000": 1}))
    assert problem == "train holds 199 classes (c001, c002, c003, ...), which val lacks"


def test_images_without_class_folders_are_recognised(tmp_path: Path) -> None:
    bare = Contents(tmp_path, (), [], 0)
    assert nothing(bare, "expected X") == f"{tmp_path} holds no class folder; expected X"
    (tmp_path / "ILSVRC2012_val_00000001.JPEG").touch()
    sorting = "its images must be sorted into class folders, or --val-labels FILE names their classes"
    assert nothing(bare, "expected X") == f"{tmp_path} holds no class folder; {sorting}; expected X"

import os
from pathlib import Path

import pytest
from PIL import Image

from data.catalog import tree


def make(root: Path, **classes: dict[str, int]) -> Path:
    """Folders root/split/class with so many images."""
    for split, counts in classes.items():
        for name, count in counts.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8)).save(folder / f"{number}.JPEG")
    return root


def test_classes_and_images_are_sorted_and_subfolders_are_read(tmp_path: Path) -> None:
    make(tmp_path, train={"b": 2, "a": 1, ".hidden": 1})
    (tmp_path / "train" / "a" / "more").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "train" / "a" / "more" / "x.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    found = tree.read(tmp_path, "train")
    assert found.classes == ("a", "b")
    assert [entry.name for entry in found.listing().entries if entry.target == 0] == ["a/0.JPEG", "a/more/x.png"]
    assert [entry.name for entry in found.listing().entries if entry.target == 1] == ["b/0.JPEG", "b/1.JPEG"]
    assert (found.count(10), found.count(2)) == (4, 2)


def test_a_link_to_nothing_is_listed_and_a_pipe_is_not(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1})
    (tmp_path / "train" / "a" / "lost.jpg").symlink_to("nowhere")
    (tmp_path / "train" / "a" / "self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "train" / "a" / "pipe.jpg")
    (tmp_path / "train" / "a" / "to pipe.jpg").symlink_to("pipe.jpg")
    (tmp_path / "train" / "a" / "to zeros.jpg").symlink_to("/dev/zero")
    names = [entry.name for entry in tree.listing(tmp_path, "train").entries]
    assert names == ["a/0.JPEG", "a/lost.jpg", "a/self.jpg"]


def test_the_listing_has_every_image_by_class_and_name(tmp_path: Path) -> None:
    make(tmp_path, train={"b": 2, "a b": 1, "a": 1, "empty": 0})
    make(tmp_path / "train", a={"deep": 1, "x.jpg": 1})
    found = tree.listing(tmp_path, "train")
    assert (found.root, found.classes) == (tmp_path / "train", ("a", "a b", "b", "empty"))
    assert [(entry.target, entry.name) for entry in found.entries] == [
        (0, "a/0.JPEG"),
        (0, "a/deep/0.JPEG"),
        (0, "a/x.jpg/0.JPEG"),
        (1, "a b/0.JPEG"),
        (2, "b/0.JPEG"),
        (2, "b/1.JPEG"),
    ]
    assert found.path(found.entries[1]) == tmp_path / "train/a/deep/0.JPEG"


def test_the_listing_has_the_time_of_every_folder(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1, "b": 1, ".hidden": 1})
    (tmp_path / "train/a/deep").mkdir()
    for number, name in enumerate(("a/deep", "a", "b", "")):
        os.utime(tmp_path / "train" / name, ns=(number, number))
    assert tree.listing(tmp_path, "train").folders == {"": 3, "a": 1, "a/deep": 0, "b": 2}


def test_a_folder_that_is_called_an_image_and_holds_none_is_listed_to_be_found_broken(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1})
    (tmp_path / "train/a/9.JPEG").mkdir()
    (tmp_path / "train/a/folder").mkdir()
    assert [entry.name for entry in tree.listing(tmp_path, "train").entries] == ["a/0.JPEG", "a/9.JPEG"]


def test_a_sound_tree_has_no_problem(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 2, "b": 2}, val={"a": 1, "b": 1})
    assert tree.problems(tmp_path, 2, 4) == []


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [
        ({"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, "ROOT/val holds class c, which ROOT/train lacks"),
        ({"a": 1, "b": 1}, {"a": 1}, "ROOT/train holds class b, which ROOT/val lacks"),
        ({"a": 1, "b": 0}, {"a": 1, "b": 1}, "ROOT/train has no image in class b"),
        ({"a": 1, "b": 1}, {"a": 0, "b": 0}, "ROOT/val has no image in class a, b"),
        ({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, "model.num_classes: 2, but ROOT/train holds 3 classes"),
        (
            {"a": 1, "b": 1},
            {"a": 1, "b": 1},
            "global_batch: 4, but ROOT/train holds only 2 images; use --global-batch 2",
        ),
        ({"a": 4}, {"a": 1}, "ROOT/train holds a single class, a"),
        ({}, {"a": 1}, "ROOT has no folder train"),
        ({"a": 1}, {}, "ROOT has no folder val"),
    ],
)
def test_what_is_wrong_with_a_tree_is_named(
    tmp_path: Path, train: dict[str, int], val: dict[str, int], expected: str
) -> None:
    make(tmp_path, train=train, val=val)
    (problem,) = tree.problems(tmp_path, 2, 4)
    assert expected in problem.replace(str(tmp_path), "ROOT")


def test_many_classes_are_counted_and_not_listed(tmp_path: Path) -> None:
    names = {f"c{number:03}": 1 for number in range(200)}
    make(tmp_path, train=names, val={"c000": 1})
    (problem,) = tree.problems(tmp_path, 200, 1)
    assert "199 classes (c001, c002, c003, ...)" in problem


def test_a_missing_root_and_a_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "does not exist" in tree.problems(tmp_path / "nothing", 2, 1)[0]
    assert "is not a folder" in tree.problems(tmp_path / "file", 2, 1)[0]


def test_the_folder_above_the_right_one_points_to_it(tmp_path: Path) -> None:
    make(tmp_path / "ILSVRC", train={"a": 1}, val={"a": 1})
    assert f"{tmp_path / 'ILSVRC'} has both" in tree.problems(tmp_path, 1, 1)[0]


def test_imagenet_s_flat_validation_folder_is_recognised(tmp_path: Path) -> None:
    make(tmp_path, train={"a": 1})
    (tmp_path / "val").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    assert "its images must be sorted into class folders" in tree.problems(tmp_path, 1, 1)[0]


def test_a_listing_tells_how_many_classes_are_done(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "train" / name).mkdir(parents=True)
    seen: list[tuple[int, int]] = []
    tree.listing(tmp_path, "train", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

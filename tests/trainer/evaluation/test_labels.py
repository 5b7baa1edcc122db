import json
import re
from pathlib import Path
from typing import Any

import pytest

from models import class_names
from tests.trainer.evaluation.listed import listed
from trainer.evaluation import labels
from trainer.evaluation.labels import Labels, UnknownLabelsError

WNIDS = class_names.wnids()
OWN = ("ant", "bee", "cat", "dog")


def of(classes: list[str], names: tuple[str, ...] | None, num_classes: int = 1000, *, guessed: bool = False) -> Labels:
    """Of two images of each class."""
    images = listed([f"{name}/{place}.JPEG" for name in classes for place in range(2)])
    return labels.of(images, "set", num_classes, names, guessed=guessed)


def test_folders_named_by_synsets_are_found_among_the_classes() -> None:
    found = of(["n02123045", "n01440764"], WNIDS)
    assert found.targets.tolist() == [0, 0, 281, 281]
    assert found.columns.tolist() == [0, 281]
    assert found.names == {0: "n01440764", 281: "n02123045"}
    assert (found.words, found.judged().tolist()) == ("set labels, 2 of 1,000 classes", [True] * 4)


def test_folders_named_by_numbers_are_the_numbers_as_in_imagenet_v2() -> None:
    """Sorted as text, 10 comes before 2."""
    found = of([str(number) for number in range(1000)], WNIDS)
    assert found.targets.reshape(-1, 2)[:3].tolist() == [[0, 0], [1, 1], [10, 10]]
    assert sorted(found.targets.tolist()) == sorted([*range(1000)] * 2)
    assert found.words == "set labels"
    assert found.assumption == "class folders are read as the numbers of the network's classes"


TWELVE = sorted(str(number) for number in range(12))  # as a data set lists them: 0, 1, 10, 11, 2, ...


def test_the_names_that_weights_carry_decide_the_order_of_numbered_folders() -> None:
    found = of(TWELVE, tuple(TWELVE), 12)
    assert found.targets.tolist() == sorted([*range(12)] * 2)
    assert found.assumption is None
    assert of(["10", "2"], tuple(TWELVE), 12).targets.tolist() == [2, 2, 4, 4]


@pytest.mark.parametrize(
    ("folders", "names", "count"),
    [
        (TWELVE, None, 12),
        (["2", "3"], None, 12),  # some of twelve
        (["007", "10"], None, 12),
        ([str(number) for number in range(1000)], WNIDS, 1000),  # ImageNet's only because there are 1,000
    ],
)
def test_numbered_folders_have_two_orders_where_no_name_decides(
    folders: list[str], names: tuple[str, ...] | None, count: int
) -> None:
    with pytest.raises(UnknownLabelsError, match=r"another order than as numbers.*--classes"):
        of(folders, names, count, guessed=names is not None)


@pytest.mark.parametrize("folders", [["0", "1", "9"], ["00", "05", "11"], [f"{number:02}" for number in range(12)]])
def test_numbered_folders_have_one_order_where_text_and_numbers_agree(folders: list[str]) -> None:
    count = 10 if "9" in folders else 12
    found = of(folders, None, count)
    assert found.targets[::2].tolist() == [int(folder) for folder in folders]


def test_classes_without_names_are_taken_in_sorted_order_and_this_is_said() -> None:
    found = of(list(OWN), None, 4)
    assert found.assumption == "the weights name no classes: class folders are assumed to be in sorted order"


def test_numbers_beside_names_that_are_numbers_are_not_taken_for_other_classes() -> None:
    with pytest.raises(UnknownLabelsError, match="among them 0; the network's are others, such as 1, 2"):
        of(["0", "1"], ("1", "2", "3"), 3)


def test_a_file_of_classes_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbf0\r\n1\r\n")
    assert labels.named(str(tmp_path / "names.txt"), 2) == ("0", "1")


def test_a_user_names_the_classes_of_weights_that_do_not(tmp_path: Path) -> None:
    assert labels.named("imagenet", 1000) == WNIDS
    (tmp_path / "names.txt").write_bytes("two words\nä\n".encode() + b"\xe4\n")
    assert labels.named(str(tmp_path / "names.txt"), 3) == ("two words", "ä", "\udce4")
    for source, reason in (("imagenet", "names 1,000 classes; the network has 3"), (str(tmp_path), "Is a directory")):
        with pytest.raises(UnknownLabelsError, match=reason):
            labels.named(source, 3)


def test_a_subset_of_200_classes_leaves_the_others_out_of_every_answer() -> None:
    """As ImageNet-A and -R have them."""
    found = of(list(WNIDS[::5]), WNIDS)
    assert found.columns.tolist() == list(range(0, 1000, 5))
    assert found.num_classes == 1000


def test_a_run_s_own_classes_are_in_its_order() -> None:
    assert of(["cat", "dog"], OWN, 4).targets.tolist() == [2, 2, 3, 3]
    assert of(list(OWN), None, 4).targets.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("classes", "names", "count", "reason"),
    [
        (["cat", "cow"], OWN, 4, "has 2 classes, among them cow; the network's are others, such as ant, bee, cat"),
        (["cat", "dog"], None, 4, "among them cat, dog; the network's are others, 4 that it does not name"),
        (["0", "4"], OWN, 4, "among them 0, 4; the network's are others"),
        (["n00000001"], WNIDS, 1000, "among them n00000001; the network's are others, such as n01440764"),
    ],
)
def test_other_classes_are_refused(classes: list[str], names: tuple[str, ...] | None, count: int, reason: str) -> None:
    with pytest.raises(UnknownLabelsError, match=re.escape(reason)):
        of(classes, names, count)


VAL = listed([f"n01440764/ILSVRC2012_val_{number:08}.JPEG" for number in (1, 5, 50_000)])


def by_file(content: Any, folder: Path, images: Any = VAL) -> Labels:
    file = folder / "mine.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return labels.with_file(labels.of(images, "val", 1000, WNIDS), images, str(file))


def test_a_list_goes_by_the_numbers_of_the_images_and_an_image_without_a_class_is_not_judged(tmp_path: Path) -> None:
    content: list[list[int]] = [[]] * 50_000
    content[0], content[49_999] = [7, 999], [0]
    found = by_file(content, tmp_path)
    assert found.accepted == [{7, 999}, set(), {0}]
    assert found.judged().tolist() == [True, False, True]
    assert found.right(labels.np.array([[7, 0], [0, 1], [3, 0]])).tolist() == [
        [True, False],
        [False, False],
        [False, True],
    ]
    assert found.name.startswith("file:mine-")  # a file called val is no folder called so
    assert (len(found.columns), found.targets.tolist()) == (1000, [0, 0, 0])


def test_real_s_labels_come_with_timm() -> None:
    found = labels.with_file(labels.of(VAL, "val", 1000, WNIDS), VAL, "real")
    every = class_names.real_labels()
    assert found.accepted == [frozenset(every[number - 1]) for number in (1, 5, 50_000)]
    assert found.name == "real"


def test_an_object_goes_by_file_names(tmp_path: Path) -> None:
    images = listed(["n01440764/a.JPEG", "n02123045/b.JPEG"])
    found = by_file({"b.JPEG": [281, 282], "a.JPEG": 3, "other.JPEG": 4}, tmp_path, images)
    assert found.accepted == [{3}, {281, 282}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no JSON"),
        ([[1]] * 3, "expected a list of 50,000 lists of classes, or an object"),
        ('"word"', "expected a list of 50,000"),
        ([[1000]] * 50_000, "names class 1000; the network has 1,000"),
        ([[-1]] * 50_000, "names class -1; the network has 1,000"),
        ([["cat"]] * 50_000, "['cat'] is no class and no list of classes"),
        ([[]] * 50_000, "gives none of these images a class"),
        ({"x.JPEG": 1}, "says nothing of 3 images, such as ILSVRC2012_val_00000001.JPEG"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(content: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownLabelsError, match=re.escape(reason)):
        by_file(content, tmp_path)


@pytest.mark.parametrize("name", ["a.JPEG", "ILSVRC2012_val_00000000.JPEG", "ILSVRC2012_val_00050001.JPEG"])
def test_a_list_needs_the_names_of_imagenet_s_validation_images(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownLabelsError, match=f"{name} has none"):
        by_file([[1]] * 50_000, tmp_path, listed([f"n01440764/{name}"]))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownLabelsError, match="No such file"):
        labels.with_file(labels.of(VAL, "val", 1000, WNIDS), VAL, str(tmp_path / "no.json"))


def test_images_of_one_name_are_told_apart_by_their_path(tmp_path: Path) -> None:
    twins = listed(["n01440764/1.JPEG", "n01443537/1.JPEG"])
    file, folders = tmp_path / "mine.json", labels.of(twins, "val", 1000, WNIDS)
    file.write_text(json.dumps({"n01440764/1.JPEG": 4, "n01443537/1.JPEG": [5]}))
    assert labels.with_file(folders, twins, str(file)).accepted == [{4}, {5}]
    file.write_text(json.dumps({"1.JPEG": 4}))
    with pytest.raises(UnknownLabelsError, match=r"several images are called 1\.JPEG; name"):
        labels.with_file(folders, twins, str(file))

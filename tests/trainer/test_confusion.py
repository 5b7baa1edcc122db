import csv
import io

import numpy as np
import pytest
from PIL import Image

from trainer import confusion

CLASSES, ANSWERS = [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 0, 2]
COUNTS = [[0, 1, 2], [0, 0, 1], [1, 0, 1], [1, 1, 1], [2, 2, 1]]


def test_each_pair_of_class_and_answer_is_counted_the_most_frequent_first() -> None:
    counts = confusion.counted(CLASSES, ANSWERS, 3)
    assert counts == COUNTS
    assert confusion.matrix(counts, 3).tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert confusion.mistakes(counts) == [[0, 1, 2], [1, 0, 1]]


def test_of_many_classes_the_most_confused_pairs_are_kept() -> None:
    rng = np.random.default_rng(0)
    classes, answers = rng.integers(0, 101, (2, 5000))
    counts = confusion.counted([*classes, 7, 7, 7], [*answers, 8, 8, 8], 101)
    assert len(counts) == confusion.PAIRS
    assert all(number != answer for number, answer, _ in counts)
    times = [count for *_, count in counts]
    assert times == sorted(times, reverse=True)
    assert confusion.counted(CLASSES, CLASSES, 101) == []
    head, *rows = confusion.table(counts, [f"class {number}" for number in range(101)])
    number, answer, most = counts[0]
    assert (head, rows[0]) == (("class", "taken for", "times"), (f"class {number}", f"class {answer}", most))


def test_the_table_is_the_matrix_with_names_that_no_spreadsheet_runs() -> None:
    text = io.StringIO()
    csv.writer(text).writerows(confusion.table(COUNTS, ["cat", "=dog", "caf\udce9"]))
    assert text.getvalue().splitlines() == [
        "class,cat,'=dog,caf\\xe9",
        *("cat,1,2,0", "'=dog,1,1,0", "caf\\xe9,0,0,1"),
    ]


NAMES = ["$\\bad{$", "caf\udce9 \n", "日本語 " + "long" * 30]


@pytest.mark.parametrize(("size", "names"), [(2, ["a", "b"]), (3, NAMES), (100, [f"n{k}" for k in range(100)])])
def test_the_picture_is_darkest_where_the_images_of_a_class_are(size: int, names: list[str]) -> None:
    counts = confusion.counted([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], size)
    figure = confusion.draw(counts, names)
    axes = figure.axes[0]
    values = axes.images[0].get_array()
    assert values is not None
    assert values[:2, :2].tolist() == [[0.75, 0.25], [0, 1]]
    assert [text.get_text() for text in axes.texts] == (["3", "1", "1"] if size <= 25 else [])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == size
    assert max(map(len, labels)) <= confusion.LONGEST
    picture = Image.open(io.BytesIO(confusion.png(counts, names)))
    assert (picture.format, max(picture.size) <= 2000) == ("PNG", True)

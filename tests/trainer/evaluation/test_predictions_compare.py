import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.evaluation.answers import answered
from trainer.evaluation import predictions
from trainer.evaluation.predictions import OtherImagesError

TARGETS = [0, 0, 1, 1, 2, 2]
FIRST = answered([0, 0, 1, 3, 4, 5], TARGETS, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
SECOND = answered([0, 1, 1, 1, 2, 6], TARGETS, [0.9, 0.3, 0.7, 0.95, 0.45, 0.35], weights_of="runs/b")


def test_pairs_are_counted_and_tested() -> None:
    found = predictions.compare(FIRST, SECOND)
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (2, 1, 2, 1)
    assert (found.images, found.other_answers) == (6, 4)
    assert found.difference == pytest.approx(100 / 6)
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.p_value == pytest.approx(1.0)  # 2 * (1 + 3) / 2**3
    assert "these images do not show which is better" in found.lines[-1]
    assert found.lines[0] == "first   runs/a (center-224/256, raw weights)"


def test_the_better_is_named_where_chance_does_not_explain_it() -> None:
    targets = [1] * 8
    found = predictions.compare(
        answered([2] * 8, targets, [0.5] * 8), answered([1] * 8, targets, [0.5] * 8, weights_of="b")
    )
    assert found.p_value == pytest.approx(2 / 2**8)
    assert found.lines[-1].endswith("p = 0.00781: b (center-224/256, raw weights) is better")


def test_images_on_which_they_differ_come_with_the_surest_first(tmp_path: Path) -> None:
    found = predictions.compare(FIRST, SECOND)
    predictions.write_comparison(found, FIRST, SECOND, tmp_path / "new")
    with (tmp_path / "new" / "differences.csv").open() as stream:
        head, *rows = csv.reader(stream)
    assert tuple(head) == predictions.HEAD
    assert rows == [
        ["c1/3.JPEG", "1", "second", "3", "0.6000", "1", "0.9500"],
        ["c2/4.JPEG", "2", "second", "4", "0.5000", "2", "0.4500"],
        ["c2/5.JPEG", "2", "neither", "5", "0.4000", "6", "0.3500"],
        ["c0/1.JPEG", "0", "first", "0", "0.8000", "1", "0.3000"],
    ]
    assert json.loads((tmp_path / "new" / "comparison.json").read_text())["only_second"] == 2


def test_answers_to_other_images_or_by_other_labels_are_not_compared() -> None:
    fewer = answered([0, 0], [0, 0], [0.5, 0.5])
    with pytest.raises(OtherImagesError, match="are of other images: 4 are in one alone"):
        predictions.compare(FIRST, fewer)
    with pytest.raises(OtherImagesError, match="judged by other labels"):
        predictions.compare(FIRST, replace(SECOND, about={**SECOND.about, "label_set": "real"}))
    with pytest.raises(OtherImagesError, match="judged by other labels"):
        predictions.compare(FIRST, replace(SECOND, targets=SECOND.targets + 1))


def test_what_else_differs_is_noted() -> None:
    assert predictions.caveats(FIRST, SECOND) == []
    other = replace(SECOND, about={**SECOND.about, "protocol": "ten-crop-224/256", "precision": "bf16"})
    assert predictions.caveats(FIRST, other) == [
        "note: protocol: center-224/256 and ten-crop-224/256",
        "note: precision: fp32 and bf16",
    ]

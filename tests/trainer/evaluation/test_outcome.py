import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.evaluation.listed import listed
from trainer.evaluation import labels, outcome
from trainer.evaluation.predictions import load

IMAGES = listed([f"{name}/{place}.JPEG" for name in ("n01440764", "n02123045") for place in range(3)])
TRUTH = labels.of(IMAGES, "val", 3, ("n01440764", "n02123045", "x"))
# index, valid, loss, confidence, answers; out of order, with a row that fills up and an image that broke
ROWS = np.array(
    [
        [5, 1, 0.1, 0.9, 1, 0],
        [0, 1, 0.2, 0.8, 0, 1],
        [0, 0, 9.0, 0.5, 2, 2],
        [4, 1, 2.0, 0.4, 0, 1],
        [1, 1, 3.0, 0.6, 2, 1],
        [3, 1, 2.5, 0.7, 0, 2],
        [2, 0, 9.0, 0.5, 0, 0],
    ]
)


def test_rows_become_answers_in_the_manifest_s_order_without_what_does_not_count() -> None:
    found = outcome.predictions(ROWS, IMAGES, TRUTH)
    assert found.names.tolist() == [IMAGES.name(row) for row in (0, 1, 3, 4, 5)]
    assert found.targets.tolist() == [0, 0, 1, 1, 1]
    assert found.answers[:, 0].tolist() == [0, 2, 0, 0, 1]
    assert found.top1.tolist() == [True, False, False, False, True]
    assert found.top5.tolist() == [True, False, False, True, True]


def test_figures_are_divided_once() -> None:
    found = outcome.figures(outcome.predictions(ROWS, IMAGES, TRUTH))
    assert (found["top1"], found["top5"], found["images"]) == (40.0, 60.0, 5)
    assert found["loss"] == pytest.approx((0.2 + 3 + 2.5 + 2 + 0.1) / 5)
    assert found["top1_interval"] == pytest.approx((11.76, 76.93), abs=0.01)
    assert found["ece"] == pytest.approx((0.1 + 0.2 + 0.4 + 0.6 + 0.7) / 5)


def test_images_without_a_label_are_left_out_and_any_accepted_class_is_right() -> None:
    judged = replace(TRUTH, accepted=[frozenset(right) for right in ([1], [2], [0], [], [0, 1], [2])])
    found = outcome.predictions(ROWS, IMAGES, judged)
    assert found.names.tolist() == [IMAGES.name(row) for row in (0, 1, 4, 5)]
    assert found.right.tolist() == [[False, True], [True, False], [True, True], [False, False]]
    assert found.targets.tolist() == [0, 0, 1, 1]


def test_classes_have_their_shares_and_the_class_they_are_mistaken_for() -> None:
    tench, tabby = outcome.classes(outcome.predictions(ROWS, IMAGES, TRUTH), TRUTH)
    assert tench == (0, "n01440764 (tench)", 2, 50, 50, "2", 1)
    assert tabby == (1, "n02123045 (tabby)", 3, pytest.approx(100 / 3), pytest.approx(200 / 3), "n01440764 (tench)", 2)


def test_files_hold_what_the_console_says(tmp_path: Path) -> None:
    found = outcome.predictions(ROWS, IMAGES, TRUTH)
    about = {
        **{"weights_of": "runs/a", "data": "/val", "protocol": "center-224/256", "protocol_words": "in words"},
        **{"label_words": "val labels", "weights": "ema", "precision": "fp32", "published_top1": 69.758},
        **{"broken": 1, "unlabelled": 0, "own_protocol": "center-224/256", "label_set": "val", "val_sha256": "ab" * 32},
    }
    found.about.update({**about, **outcome.figures(found)})
    outcome.write(found, TRUTH, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        *("predictions.npz", "classes.csv", "evaluation.json", "confusion.csv", "confusion.png")
    }
    assert (tmp_path / "confusion.csv").read_text().splitlines() == [
        "class,n01440764 (tench),n02123045 (tabby),2",
        *("n01440764 (tench),1,0,1", "n02123045 (tabby),2,1,0", "2,0,0,0"),
    ]
    assert json.loads((tmp_path / "evaluation.json").read_text())["top1"] == 40.0
    assert load(tmp_path / "predictions.npz").about["broken"] == 1
    with (tmp_path / "classes.csv").open() as stream:
        assert list(csv.reader(stream)) == [
            list(outcome.HEAD),
            ["0", "n01440764 (tench)", "2", "50.00", "50.00", "2", "1"],
            ["1", "n02123045 (tabby)", "3", "33.33", "66.67", "n01440764 (tench)", "2"],
        ]
    text = "\n".join(outcome.lines(found, TRUTH))
    assert "runs/a on /val: 5 images, each once, 1 broken and left out" in text
    assert "top-1 40.000 % (95 % interval 11.76 to 76.93), top-5 60.000 %" in text
    assert "its package states top-1 69.758 %" in text
    assert "without a label" not in text


def test_another_evaluation_is_not_written_over(tmp_path: Path) -> None:
    found, folder = outcome.predictions(ROWS, IMAGES, TRUTH), tmp_path / "val-center"
    found.about.update({"val_sha256": "ab" * 32, "label_set": "val", "precision": "fp32"})
    assert outcome.free(folder, found) == folder
    outcome.write(found, TRUTH, folder)
    assert outcome.free(folder, found) == folder  # the same again
    for key, other in (("val_sha256", "cd" * 32), ("label_set", "file:val-1"), ("precision", "bf16")):
        before = found.about[key]
        found.about[key] = other
        assert outcome.free(folder, found).name.startswith("val-center-")
        found.about[key] = before
    (folder / "evaluation.json").write_text("{")
    assert outcome.free(folder, found) == folder


def test_the_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    confidence = np.array([0.61, 0.65, 0.95, 1.0, 0.02], np.float32)  # bins 9, 9, 14, 14, 0
    right = np.array([True, False, True, True, False])
    by_hand = (2 * abs(0.63 - 0.5) + 2 * abs(0.975 - 1) + abs(0.02 - 0)) / 5
    assert outcome.calibration_error(confidence, right) == pytest.approx(by_hand, abs=1e-6)
    assert outcome.calibration_error(np.ones(4, np.float32), np.ones(4, bool)) == 0

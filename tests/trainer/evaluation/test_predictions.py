from pathlib import Path

import numpy as np
import pytest

from tests.trainer.evaluation.answers import answered
from trainer.evaluation.predictions import COLUMNS, DamagedPredictionsError, Predictions, load


def test_what_was_saved_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    saved = answered([0, 1, 9], [0, 2, 9], [0.5, 0.25, 1.0], classes=10)
    saved.save(tmp_path / "predictions.npz")
    found = load(tmp_path / "predictions.npz")
    assert found.about == saved.about
    for name in COLUMNS:
        ours, theirs = getattr(found, name), getattr(saved, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    assert (len(found), found.top1.tolist(), found.top5.tolist()) == (3, [True, False, True], [True, False, True])
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.npz"]


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[150:180] = bytes(30)
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def foreign(file: Path) -> None:
    np.savez(file, weights=np.zeros(3))


def lone(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))


def text(file: Path) -> None:
    file.write_text("no archive")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def encrypted(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(content)


def changed(file: Path, **columns: object) -> None:
    with np.load(file) as stored:
        np.savez(file, **{**stored, **columns})


def short(file: Path) -> None:
    changed(file, targets=np.zeros(499, np.int32))


def deep(file: Path) -> None:
    changed(file, about="[" * 100_000)


def silent(file: Path) -> None:
    changed(file, about="{}")


@pytest.mark.parametrize("harm", [damaged, cut, foreign, lone, text, empty, encrypted, short, deep, silent])
def test_a_file_that_holds_no_predictions_is_refused_by_its_name(harm, tmp_path: Path) -> None:
    file = tmp_path / "predictions.npz"
    many = np.random.default_rng(0).integers(0, 10, 500).tolist()
    answered(many, many, [0.5] * 500).save(file)
    harm(file)
    with pytest.raises(DamagedPredictionsError, match=r"predictions.npz holds no predictions: .*; evaluate again"):
        load(file)


def test_predictions_of_a_newer_version_are_refused_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "predictions.npz"
    np.savez(file, schema=99)
    with pytest.raises(DamagedPredictionsError, match=r"predictions.npz: schema 99, .* up to 1; .*, or evaluate again"):
        load(file)


def test_imagenet_s_50_000_images_take_about_a_megabyte(tmp_path: Path) -> None:
    rng, count = np.random.default_rng(0), 50_000
    targets = np.sort(rng.integers(0, 1000, count)).astype(np.int32)
    answers = np.stack([(targets + near) % 1000 for near in range(5)], axis=1).astype(np.int32)
    rng.permuted(answers, axis=1, out=answers)
    Predictions(
        names=np.array([f"n{target:08}/ILSVRC2012_val_{place:08}.JPEG" for place, target in enumerate(targets)]),
        targets=targets,
        answers=answers,
        confidence=rng.random(count, np.float32),
        losses=rng.random(count, np.float32),
        right=answers == targets[:, None],
        about={},
    ).save(tmp_path / "predictions.npz")
    assert (tmp_path / "predictions.npz").stat().st_size < 1.5e6

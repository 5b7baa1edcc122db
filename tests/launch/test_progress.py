import json
from pathlib import Path

import pytest

from data.schema import NewerSchemaError
from launch.progress import Progress, progress

START = {"kind": "start", "step": 0, "host": "vm", "total_steps": 36, "steps_per_epoch": 6, "time": 100.0}
TRAIN = {"kind": "train", "step": 9, "epoch": 1, "loss": 1.5, "top1": 18.75, "images_per_s": 242.5, "time": 101.0}
EVAL = {"kind": "eval", "step": 6, "epoch": 1, "top1": 27.5, "top5": 100.0, "time": 100.5}
EMA = {**EVAL, "kind": "eval_ema", "top1": 26.25}


def written(folder: Path, *records: object, end: str = "\n") -> Path:
    file = folder / "metrics.jsonl"
    file.write_text("\n".join(record if isinstance(record, str) else json.dumps(record) for record in records) + end)
    return file


def test_the_newest_record_of_each_kind_counts(tmp_path: Path) -> None:
    old = [START, {**TRAIN, "step": 1, "epoch": 0, "images_per_s": 1.0}, {**EVAL, "top1": 1.0}]
    found = progress(written(tmp_path, *old, EVAL, EMA, TRAIN))
    assert found == Progress(step=9, total_steps=36, epochs=6, epoch=2, top1=26.25, images_per_s=242.5, updated=101.0)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], Progress()),
        ([START], Progress(total_steps=36, epochs=6, updated=100.0)),
        ([{**START, "total_steps": None}, TRAIN], Progress(step=9, epoch=2, images_per_s=242.5, updated=101.0)),
        ([TRAIN, EVAL], Progress(step=9, epoch=2, top1=27.5, images_per_s=242.5, updated=101.0)),
        ([EVAL], Progress(step=6, epoch=1, top1=27.5, updated=100.5)),
        ([{"kind": "train", "step": "x", "epoch": True, "images_per_s": [1]}], Progress()),
        (['{"kind": "train", "images_per_s": NaN}'], Progress()),
        ([TRAIN, "junk", "[1]", '{"kind": "train", "st'], Progress(step=9, epoch=2, images_per_s=242.5, updated=101.0)),
    ],
)
def test_what_is_missing_or_damaged_is_unknown(tmp_path: Path, records: list[object], expected: Progress) -> None:
    assert progress(written(tmp_path, *records)) == expected


def test_a_last_line_that_is_cut_is_passed_over(tmp_path: Path) -> None:
    file = written(tmp_path, START, TRAIN, json.dumps({**TRAIN, "step": 10})[:40], end="")
    assert progress(file).step == 9


def test_junk_is_no_progress(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert progress(file) == Progress()
    file.write_bytes(bytes(range(256)) * 100)
    assert progress(file) == Progress()


def test_of_a_long_run_only_the_ends_are_read(tmp_path: Path) -> None:
    file = written(tmp_path, START, EVAL, *[TRAIN] * 60_000)
    assert file.stat().st_size > 5 << 20
    found = progress(file)
    assert (found.step, found.total_steps) == (9, 36)
    assert found.top1 is None  # further back than is looked


@pytest.mark.parametrize("records", [[{**START, "schema": 9}, TRAIN], [START, TRAIN, {**START, "schema": 9}]])
def test_records_of_a_newer_version_are_refused(tmp_path: Path, records: list[object]) -> None:
    with pytest.raises(NewerSchemaError, match=r"metrics\.jsonl: schema 9, this version reads up to 1"):
        progress(written(tmp_path, *records))

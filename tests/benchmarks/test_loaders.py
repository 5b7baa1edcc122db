import json
from pathlib import Path

import pytest

from tests.benchmarks import loaders
from tests.benchmarks.__main__ import main
from tests.benchmarks.gil import WAIT_S
from tests.benchmarks.loader_contestant import Turn
from tests.benchmarks.loaders import Figures


def turns(*costs_ms: float) -> list[Turn]:
    """100 images in half a second, each."""
    return [Turn(100, 0.5, cost / 10) for cost in costs_ms]


def test_figures_are_medians_and_ratios_are_taken_within_a_round() -> None:
    """The second round is disturbed for all: it moves the times but not the ratios."""
    found = loaders.figures(turns(2.0, 8.0, 2.0), turns(4.0, 16.0, 5.0), turns(1.0, 4.0, 1.5), first_batch_s=1.5)
    assert found.images_per_s == pytest.approx(200)
    assert found.cpu_ms == pytest.approx(2)
    assert found.ratio == pytest.approx(2)
    assert found.spread == pytest.approx((2, 2.5))
    assert found.of_floor == pytest.approx(0.5)
    assert found.first_batch_s == 1.5


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    found = loaders.figures(turns(2.0, 2.0), [], turns(1.0), first_batch_s=1.0)
    assert (found.ratio, found.spread, found.of_floor) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["ROOT/none"], "ROOT: ROOT/none is not a folder; expected ROOT/train/<class>"),
        (["ROOT/train"], "ROOT: ROOT/train has no folder train; expected ROOT/train/<class>"),
        (["ROOT", "--batch", "97"], "--batch: 97, but ROOT/train holds 96 images; use --batch 96"),
        (["ROOT", "--batch", "0"], "--batch: 0; must be at least 1 and at most 4096"),
        (["ROOT", "--rounds", "0"], "--rounds: 0; must be at least 1 and at most 1000"),
        (["ROOT", "--seconds", "0"], "--seconds: 0.0; must be at least 0.1 and at most 600"),
        (["ROOT", "--threads", "2000"], "--threads: 2000; must be at least 1 and at most 1024"),
        (["ROOT", "--contenders"], "--contenders: none; name at least one"),
        (["ROOT", "--json", "ROOT"], "--json: ROOT cannot be a file"),
        (["ROOT", "--shards", "ROOT/none"], "--shards: ROOT/none is not a folder; provenet pack writes one"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    images: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["loaders", *(argument.replace("ROOT", str(images)) for argument in arguments)]) == 2
    said = capsys.readouterr().err.replace(str(images), "ROOT")
    assert said.startswith("cannot start; nothing was measured\n")
    assert problem in said


@pytest.mark.slow
def test_loaders_are_timed_side_by_side(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "bench.json"
    contenders = ["--contenders", "threads", "torchvision", "floor"]
    options = ["--rounds", "2", "--seconds", "0.3", "--batch", "16", "--threads", "2", "--json", str(written)]
    assert main(["loaders", str(images), *contenders, *options, "--shards", str(images), "--operators", "--gil"]) == 0
    output = capsys.readouterr().out
    assert "threads: from shards " in output
    saved = json.loads(written.read_text())
    rows = {row["name"]: row for row in saved["loaders"]}
    assert set(rows) == {"threads", "threads, shards", "torchvision", "floor"}
    figures = {name: Figures(**row["figures"]) for name, row in rows.items()}
    assert figures["torchvision"].ratio == figures["floor"].of_floor == 1
    costs = [row["figures"]["cpu_ms"] for row in saved["loaders"]]
    assert costs == sorted(costs)
    assert costs[0] > 0.05
    assert all(0.1 < found.first_batch_s < 60 for found in figures.values())
    assert rows["torchvision"]["facts"]["shape"] == [3, 224, 224]
    assert rows["threads"]["facts"]["shape"] == [224, 224, 3]
    assert saved["machine"]["torch"]
    assert [row["threads"] for row in saved["gil"]] == [1, 2, 4, 8, 16]
    waiting = 2 * WAIT_S
    assert all(row["images_per_s"] <= row["threads"] / waiting for row in saved["gil"])
    assert 0.005 < saved["python_ms"] < 1
    assert all(0 < row["cpu_ms"] < 2 and row["alone_us"] > 0 for row in saved["gil"])
    assert list(saved["operators"]) == ["plan", "read", "decode", "crop, resize, flip", "the rest"]

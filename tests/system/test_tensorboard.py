from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.system.running import records, train

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def runs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs that differ in their learning rate, as an array has it."""
    folder = tmp_path_factory.mktemp("array")
    for lr in ("0.05", "0.2"):
        train(images, folder / f"lr-{lr}", "--epochs", "3", "--optimizer.lr", lr)
    return folder


def test_the_charts_in_a_browser_show_the_run_s_numbers(runs: Path) -> None:
    from tests.system.screenshot import board, browser, open_pinned

    run = runs / "lr-0.05"
    points = [record for record in records(run) if record["kind"] == "train"]
    evaluations = [record for record in records(run) if record["kind"] == "eval"]
    with board(run) as address, browser() as page:
        shown = open_pinned(page, address)
    assert shown == {
        "eval/top1": pytest.approx(evaluations[-1]["top1"], abs=1e-4),
        "eval/top5": pytest.approx(evaluations[-1]["top5"], abs=1e-4),
        "train/loss": pytest.approx(points[-1]["loss"], abs=1e-4),
        "train/lr": pytest.approx(points[-1]["lr"], abs=1e-4),
        "throughput/images_per_s": pytest.approx(points[-1]["images_per_s"], rel=1e-4),
        "time/data_wait": pytest.approx(points[-1]["data_wait"], abs=1e-4),
    }


def test_pictures_settings_and_charts_have_their_tabs(runs: Path) -> None:
    from tests.system.screenshot import board, browser, shown_charts, shown_groups, shown_pictures, shown_settings

    with board(runs) as address, browser() as page:
        pictures = shown_pictures(page, address)
        settings = shown_settings(page, address)
        categories, charts = shown_charts(page, address)
        groups, texts = (shown_groups(page, address, tab) for tab in ("timeseries", "text"))
    assert groups[0].startswith("eval")  # and no counts of broken images
    assert texts[0].strip() == "Report"
    assert pictures == {
        EventAccumulator(str(run)).Reload().Images(tag)[-1].encoded_image_string
        for run in runs.iterdir()
        for tag in ("images/training", "images/mistakes", "images/confusion")
    }
    last = {run.name: [r for r in records(run) if r["kind"] == "eval"][-1] for run in runs.iterdir()}
    assert {name: float(row["optimizer.lr"]) for name, row in settings.items()} == {"lr-0.05": 0.05, "lr-0.2": 0.2}
    for name, row in settings.items():
        assert float(row["eval/top1"]) == pytest.approx(last[name]["top1"], rel=1e-3)
        assert (row["model.name"], float(row["seed"])) == ("resnet20", 0)
    assert [category.strip() for category in categories] == ["Accuracy", "Throughput"]
    assert [title.strip() for title in charts][:4] == ["top-1, %", "top-5, %", "loss", "images/s"]

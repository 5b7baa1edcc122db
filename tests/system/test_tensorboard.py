from pathlib import Path

import pytest

from tests.system.running import records, train

pytestmark = pytest.mark.browser


def test_the_charts_in_a_browser_show_the_run_s_numbers(images: Path, tmp_path: Path) -> None:
    from tests.system.screenshot import board, browser, open_pinned

    train(images, tmp_path / "run", "--epochs", "3")
    points = [record for record in records(tmp_path / "run") if record["kind"] == "train"]
    evaluations = [record for record in records(tmp_path / "run") if record["kind"] == "eval"]
    with board(tmp_path) as address, browser() as page:
        shown = open_pinned(page, address)
    assert shown == {
        "eval/top1": pytest.approx(evaluations[-1]["top1"], abs=1e-4),
        "eval/top5": pytest.approx(evaluations[-1]["top5"], abs=1e-4),
        "train/loss": pytest.approx(points[-1]["loss"], abs=1e-4),
        "train/top1": pytest.approx(points[-1]["top1"], abs=1e-4),
        "train/lr": pytest.approx(points[-1]["lr"], abs=1e-4),
        "throughput/images_per_s": pytest.approx(points[-1]["images_per_s"], rel=1e-4),
    }

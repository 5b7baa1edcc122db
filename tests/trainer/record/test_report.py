import json
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.config import Recipe
from trainer.record import report
from trainer.rundir import RunDirectory

START = {
    "kind": "start",
    "step": 0,
    "time": 0.0,
    "host": "n1",
    "device": "CPU",
    "world_size": 2,
    "launcher": "srun",
    "threads": 1,
    "loader": "dali_gpu",
    "python": "3.12.1",
    "packages": {"torch": "2.15.0"},
}
RESULT = {
    "top1": 76.13,
    "top5": 92.86,
    "best_top1": 76.2,
    "images": 49_999,
    "broken": 1,
    "train_replaced": 7,
    "train_broken": 5,
    "val_broken": 0,
    "protocol": "centre crop",
    "images_seen": 115_200_000,
    "epochs": 90,
    "train_images": 1_281_167,
    "seed": 3,
    "commit": "abc",
    "raw_weights": {"top1": 75.5, "top5": 92.25},
    "recipe_sha256": "r",
    "train_sha256": "t",
    "val_sha256": "v",
}


def run_directory(folder: Path, *, finished: bool) -> RunDirectory:
    run = RunDirectory(folder)
    run.make()
    run.begin(Recipe(epochs=2))
    train = [
        {"kind": "train", "step": s, "loss": 7 - s, "top1": 10.0 * s, "lr": 0.1 / s, "images_per_s": 100.0}
        for s in range(1, 7)
    ]
    evaluation = {"kind": "eval", "step": 6, "epoch": 2, "loss": 1.5, "top1": 55.5, "top5": 88.25}
    averaged = {**evaluation, "kind": "eval_ema", "top1": 60.25}
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in [START, *train, evaluation, averaged]))
    if finished:
        run.result.write_text(json.dumps(RESULT))
    return run


def test_a_finished_run_s_report_states_the_accuracy_with_its_protocol(tmp_path: Path) -> None:
    run = run_directory(tmp_path, finished=True)
    report.write(run)
    text = run.report.read_text()
    assert "| top-1 | **76.13 %** (best after any epoch: 76.20 %) |" in text
    assert "| without averaging | top-1 75.50 %, top-5 92.25 % |" in text
    assert "| protocol | centre crop |" in text
    assert "| images evaluated | 49,999, each once; 1 broken is left out |" in text
    assert "| training images | 1,281,167; 5 broken are left out |" in text
    assert "| images replaced in training | 7, which could not be read or decoded |" in text
    assert "| 2 | 6 | raw | 55.50 | 88.25 | 1.5000 |" in text
    assert "| 2 | 6 | averaged | 60.25 | 88.25 | 1.5000 |" in text
    assert (
        "| 1970-01-01 00:00:00 | 0 | 2 x CPU on n1 | srun, 1 threads, loader dali_gpu, Python 3.12.1 | torch 2.15.0 |"
        in text
    )
    assert "| `epochs` | 90 | 2 |" in text
    assert "](curves.png)" in text


def test_an_unfinished_run_s_report_gives_no_result(tmp_path: Path) -> None:
    run = run_directory(tmp_path, finished=False)
    report.write(run)
    assert "**Not finished.**" in run.report.read_text()
    assert "top-1 | **" not in run.report.read_text()


def test_a_run_that_was_stopped_before_its_first_point_has_a_report(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.make()
    run.begin(Recipe())
    report.write(run)
    assert "**Not finished.**" in run.report.read_text()


def test_the_plot_shows_the_points(tmp_path: Path) -> None:
    """Each panel holds pixels of its own line's colour."""
    run = run_directory(tmp_path, finished=True)
    report.write(run)
    pixels = np.asarray(Image.open(run.curves).convert("RGB")).astype(int)
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    panels = [pixels[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    blue, orange, green, red, purple = (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)
    # the averaged weights' loss lies on the raw ones', and is drawn over it
    for panel, colors in zip(panels, [(blue, purple), (blue, orange, purple), (green,), (red,)], strict=True):
        for color in colors:
            assert (np.abs(panel - np.array(color)).sum(-1) < 30).sum() > 50

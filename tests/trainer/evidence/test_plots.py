import io

import numpy as np
from PIL import Image

from tests.trainer.evidence.runs import EVALUATION, START, train_records
from trainer.evidence import plots
from trainer.evidence.history import history

AVERAGED = {**EVALUATION, "kind": "eval_ema", "top1": 60.25}
BLUE, ORANGE, GREEN, RED = (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)
PURPLE, BROWN, PINK = (148, 103, 189), (140, 86, 75), (227, 119, 194)


def test_the_plot_shows_the_points() -> None:
    """Each panel holds pixels of its own line's colour."""
    png = plots.png(plots.draw(history([START, *train_records(6), EVALUATION, AVERAGED])))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    height, width = pixels.shape[0] // 3, pixels.shape[1] // 2
    panels = [pixels[y : y + height, x : x + width] for y in (0, height, 2 * height) for x in (0, width)]
    # the averaged weights' loss lies on the raw ones', and is drawn over it
    colors = [(BLUE, PURPLE), (BLUE, ORANGE, PURPLE), (GREEN,), (RED,), (BROWN,), (PINK,)]
    for panel, expected in zip(panels, colors, strict=True):
        for color in expected:
            assert (np.abs(panel - np.array(color)).sum(-1) < 30).sum() > 50


def test_a_line_marks_where_the_run_was_started_again() -> None:
    again = {**START, "step": 3}
    figure = plots.draw(history([START, *train_records(3), again, again, *train_records(6)[3:]]))
    marks = [
        [np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_linestyle() == ":"] for axes in figure.axes
    ]
    assert marks == [[3]] * 6


def test_shares_are_percent() -> None:
    figure = plots.draw(history([START, *train_records(2)]))
    assert np.asarray(figure.axes[4].lines[0].get_ydata()).tolist() == [12.5, 12.5]


def test_a_run_without_points_and_one_without_memory_have_a_plot() -> None:
    records = [{name: value for name, value in record.items() if name != "memory_gb"} for record in train_records(2)]
    assert plots.png(plots.draw(history([])))
    assert plots.png(plots.draw(history([START, *records])))

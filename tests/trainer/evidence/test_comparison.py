from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.trainer.evidence.runs import EVALUATION, RESULT, START, recipe, train_records, write
from trainer.evidence import comparison, plots
from trainer.evidence.run_record import Account, read
from trainer.optim.config import SgdConfig
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError

HEAD = (
    "| run | recipe | state | top-1, % | best top-1, % | protocol | images seen | images/s | devices | hours "
    "| published figure |"
)
RESULT_SEEN = {**RESULT, "schema": 1}
DIVERGED = {"kind": "diverged", "step": 7, "first": 7, "lr": 9.0, "why": "the loss is not a finite number", "time": 400}


def run(
    folder: Path, recipe: Recipe, *extra: dict[str, object], top1: float | None = None, **result: object
) -> Account:
    """A run of 6 steps of 100 images and an evaluation; finished where it has an accuracy."""
    points = [{**record, "images_seen": 100 * record["step"]} for record in train_records(6)]
    records = [START, *points, {**EVALUATION, "images_seen": 600}, *extra]
    stored = None if top1 is None else {**RESULT_SEEN, "top1": top1, **result}
    return read(write(folder, recipe, records, stored))


@pytest.fixture
def four(tmp_path: Path) -> list[Account]:
    """Two seeds of one recipe, one of another learning rate that stopped, and one of a third that diverged."""
    return [
        run(tmp_path / "a" / "seed0", recipe(seed=0), top1=76.1, best_top1=76.2),
        run(tmp_path / "a" / "seed1", recipe(seed=1), top1=76.3),
        run(tmp_path / "b|c_$x", recipe(optimizer=replace(SgdConfig(), lr=0.7))),
        run(tmp_path / "d", recipe(optimizer=replace(SgdConfig(), lr=9.0), epochs=4), DIVERGED),
    ]


def page(accounts: list[Account], output: Path) -> list[str]:
    comparison.check(accounts, output)
    comparison.write(accounts, output)
    return output.read_text().splitlines()


def test_a_page_has_each_run_and_what_differs_between_the_recipes(four: list[Account], tmp_path: Path) -> None:
    lines = page(four, tmp_path / "of all.md")
    at = lines.index(HEAD)
    rest = "600 | 100 | 8 x NVIDIA H100 | 0.111"
    assert lines[at + 2 : at + 6] == [
        f"| a/seed0 | A | finished | 76.10 | 76.20 | `center-224/256` | {rest} | reproduced |",
        f"| a/seed1 | A | finished | 76.30 | 76.25 | `center-224/256` | {rest} | reproduced |",
        rf"| b\|c\_$x | B | stopped | - | 55.50 | `center-224/256` | {rest} | not finished |",
        f"| d | C | diverged | - | 55.50 | `center-224/256` | {rest} | diverged |",
    ]
    settings = lines[lines.index("## Differences between the recipes") + 2 :][:6]
    assert settings[0] == "| field | A | B | C |"
    assert {"| `epochs` | 90 | 90 | 4 |", "| `optimizer.lr` | 0.1 | 0.7 | 9.0 |"} <= set(settings)
    assert "| A (resnet50) | 2 | 76.20 +- 0.14 |" in "\n".join(lines)
    alt = "top-1, loss and training loss by images seen of 4 runs: a line for each, a colour for each recipe"
    assert f"![{alt}](of%20all.png)" in lines
    assert f'alt="{alt}"' in (html := (tmp_path / "of all.html").read_text())
    assert html.count('<img src="data:image/png;base64,') == 1
    assert (tmp_path / "of all.png").read_bytes()[:4] == b"\x89PNG"
    assert len(page(four[:2], tmp_path / "of all.md")) < len(lines)  # its own file is replaced


def test_the_picture_has_a_line_a_run_and_a_colour_a_recipe(four: list[Account]) -> None:
    letters = "AABC"
    figure = plots.compared(
        [(letter, one.run.path.name, one.history) for letter, one in zip(letters, four, strict=True)]
    )
    for axes, name, values in zip(figure.axes, ("top1", "loss", "loss"), ([55.5], [1.5], None), strict=True):
        assert len(axes.lines) == 4
        assert [to_hex(str(line.get_color())).upper() for line in axes.lines] == [
            *("#0072B2", "#0072B2", "#D55E00", "#009E73"),
        ]
        drawn = np.asarray(axes.lines[2].get_ydata()).tolist()
        assert drawn == (values or list(four[2].history.figures[name]))
    assert np.asarray(figure.axes[2].lines[0].get_xdata()).tolist() == [100.0 * step for step in range(1, 7)]
    assert np.asarray(figure.axes[0].lines[0].get_xdata()).tolist() == [600]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["A: seed0, seed1", "B: b|c_$x", "C: d"]
    assert not any(text.get_parse_math() for text in legend.get_texts())


def test_twenty_recipes_differ_in_colour_or_else_in_grey_too(four: list[Account]) -> None:
    many = [(letter, "run", four[0].history) for letter in "ABCDEFGHIJKLMNOPQRST"]
    looks = {(line.get_marker(), line.get_linestyle()) for line in plots.compared(many).axes[0].lines}
    assert len(looks) == 20


def test_a_run_that_diverged_does_not_hide_the_others(four: list[Account], tmp_path: Path) -> None:
    exploded = {**train_records(1)[0], "step": 7, "images_seen": 700, "loss": 1e24}
    other = run(tmp_path / "e", recipe(), exploded, DIVERGED)
    figure = plots.compared([("A", "a", four[0].history), ("B", "e", other.history)])
    assert figure.axes[2].get_ylim()[1] <= 20
    worst = run(tmp_path / "f", recipe(), *[{**exploded, "step": step, "loss": 10.0**step} for step in range(7, 30)])
    assert plots.png(plots.compared([("A", "e", worst.history), ("B", "f", worst.history)]))
    (alone, *_) = plots.draw(other.history).axes
    assert alone.get_yscale() == "log"


@pytest.mark.parametrize(
    ("fields", "word", "why"),
    [
        ({}, "Comparable", "All share protocol and images, and are finished."),
        ({"val_sha256": "w"}, "Not comparable", "Different evaluation images (SHA-256): v in one; w in two."),
        ({"train_sha256": "u"}, "Comparable", "Different training images (SHA-256): t in one; u in two."),
        (
            {"val_sha256": None},
            "Comparable as far as is known",
            "Different evaluation images (SHA-256): v in one; not known yet in two.",
        ),
    ],
)
def test_what_is_not_comparable_is_said_first(fields: dict[str, object], word: str, why: str, tmp_path: Path) -> None:
    both = [
        run(tmp_path / "one", recipe(), top1=76.1),
        run(tmp_path / "two", recipe(), top1=76.1, **fields),
    ]
    assert page(both, tmp_path / "f.md")[2] == f"**{word}.** {why}"


def test_other_protocols_and_images_of_which_nothing_is_known_are_said(tmp_path: Path) -> None:
    other = recipe(input=replace(recipe().input, eval_resize=232))
    both = [run(tmp_path / "one", recipe()), run(tmp_path / "two", other)]
    first = page(both, tmp_path / "f.md")[2]
    assert first.startswith("**Not comparable.** Different protocols: center-224/256 in one; center-224/232 in two.")
    assert first.endswith("Not finished, so without a result: one, two.")
    alike = [both[0], run(tmp_path / "three", recipe(seed=4))]
    assert page(alike, tmp_path / "f.md")[2].startswith("**Comparable as far as is known.**")


def test_what_cannot_be_compared_is_refused(four: list[Account], tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("my own")
    (tmp_path / "notes.md").write_text("# Notes")
    begun = read(write(tmp_path / "begun", recipe(), [START]))
    for accounts, name, expected in (
        (four[:1], "f.md", "--output: compares 2 to 20 runs, each counted once; here are 1"),
        (four * 6, "f.md", "--output: compares 2 to 20 runs, each counted once; here are 24"),
        ([*four, begun], "f.md", f"RUN: {tmp_path / 'begun'} has logged nothing yet"),
        (four, "f.txt", "f.txt; name a file that ends in .md, in a folder that can be written"),
        (four, "none/f.md", "f.md; name a file that ends in .md, in a folder that can be written"),
        (four, "mine.md", "mine.html exists and is no comparison of runs; name another file"),
        (four, "notes.md", "notes.md exists and is no comparison of runs; name another file"),
    ):
        with pytest.raises(InvalidConfigError) as refused:
            comparison.check(accounts, tmp_path / name)
        assert len(refused.value.problems) == 1
        assert refused.value.problems[0].endswith(expected)

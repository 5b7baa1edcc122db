"""The curves of a run, over its steps, and of several, by images seen. Loads matplotlib, and no torch."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import ArrayLike

from data.names import shown
from trainer.evidence.history import History

WORDS = "loss, top-1, learning rate, images/s, wait for data and memory over the steps"

_LABELS = {
    "loss": "loss",
    "top1": "top-1, %",
    "lr": "learning rate",
    "images_per_s": "images/s",
    "data_wait": "waiting for data, % of the time",
    "memory_gb": "most memory so far, GB",
}
_EXPLODED = 100.0  # a loss of ImageNet begins at 7
_COLORS = {"lr": "C2", "images_per_s": "C3", "data_wait": "C5", "memory_gb": "C6"}
# distinguishable for the colour-blind (Okabe and Ito); in grey by dashes and markers, 20 pairs of which differ
_SAFE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES, _MARKERS = ("-", "--", "-.", ":"), "osD^v"
_NAME = 40  # characters of a run's name in the legend
_EVALUATED = (("eval", "evaluation", "C1", "o"), ("eval_ema", "evaluation, averaged weights", "C4", "s"))


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        figure.savefig(stream, format="png", dpi=120)
    return stream.getvalue()


def draw(past: History) -> Figure:
    """Loss, top-1, learning rate, throughput, wait for data and memory; a dotted line at each start but the first."""
    figure = Figure(figsize=(11, 10), layout="constrained")
    restarts = {record["step"] for record in past.of_kind("start") if record["step"] > 0}
    panels: dict[str, Axes] = dict(zip(_LABELS, figure.subplots(3, 2).flat, strict=True))
    for name, axes in panels.items():
        unit = 100 if name == "data_wait" else 1
        _line(axes, past.steps, unit * np.asarray(past.figures[name]), "training", _COLORS.get(name, "C0"))
        if name not in _COLORS:
            for kind, label, color, marker in _EVALUATED:
                if records := past.of_kind(kind):
                    steps, values = ([record[key] for record in records] for key in ("step", name))
                    _line(axes, steps, values, label, color, marker=marker)
        _dress(axes, "optimizer step", _LABELS[name])
        for step in restarts:
            axes.axvline(step, color="0.4", linestyle=":", linewidth=1, zorder=0)
    if past.records:
        figure.legend(*panels["top1"].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    else:
        figure.suptitle("Nothing has been logged yet")
    panels["data_wait"].set_ylim(0, 100)
    for name in ("images_per_s", "memory_gb"):
        panels[name].set_ylim(0, 1.05 * panels[name].get_ylim()[1])
    return figure


def compared(runs: Sequence[tuple[str, str, History]]) -> Figure:
    """Top-1, loss and training loss of several runs by images seen: a line for each, a colour for each recipe.

    `runs`: of each the letter of its recipe, its name and its records.
    """
    figure, letters = Figure(figsize=(8, 11), layout="constrained"), sorted({letter for letter, _, _ in runs})
    top1, loss, training = figure.subplots(3, 1, sharex=True)
    for number, letter in enumerate(letters):
        names = ", ".join(shown(name) for other, name, _ in runs if other == letter)
        label = f"{letter}: {names if len(names) <= _NAME else names[: _NAME - 3] + '...'}"
        color, style = _SAFE[number % 7], {"marker": _MARKERS[number % 5], "linestyle": _DASHES[number % 4]}
        for past in (past for other, _, past in runs if other == letter):
            seen, top1s, losses = ([r[key] for r in past.evaluated] for key in ("images_seen", "top1", "loss"))
            _line(top1, seen, top1s, label, color, **style)
            _line(loss, seen, losses, label, color, **style)
            _line(training, past.figures["images_seen"], past.figures["loss"], label, color, **style)
    if training.get_ylim()[1] > _EXPLODED:  # a run that diverged leaves the panel, in which the others are to be seen
        training.set_ylim(0, 5 * max(np.median(past.known("loss") or 1) for _, _, past in runs))
    for axes, words in ((top1, "top-1, %"), (loss, "evaluation loss"), (training, "training loss")):
        _dress(axes, "training images seen" if axes is training else "", words)
    training.xaxis.set_major_formatter(EngFormatter())
    by_label = {label: line for line, label in zip(*top1.get_legend_handles_labels(), strict=True)}  # one a recipe
    columns = 1 + (len(by_label) > 6)
    legend = figure.legend([*by_label.values()], [*by_label], loc="outside upper left", ncols=columns, fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _line(
    axes: Axes, steps: ArrayLike, values: ArrayLike, label: str, color: str, *, marker: str = "", **style: Any
) -> None:
    figures = np.asarray(values, dtype=float)
    known = ~np.isnan(figures)
    size, marker = 5 if style or known.sum() <= 40 else 2, marker or ("." if known.sum() == 1 else "")
    every = max(1, int(known.sum()) // 12) if style else None  # as marks of many lines would hide them
    x, y = np.asarray(steps)[known], figures[known]
    axes.plot(x, y, label=label, color=color, marker=marker, markersize=size, markevery=every, **style)


def _dress(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Whole numbers of steps or images below, and a scale that shows a loss as well as the one that it exploded to."""
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(alpha=0.3)
    if ylabel.endswith("loss") and axes.get_ylim()[1] > _EXPLODED:
        axes.set_yscale("log")

"""The curves of a run, over its steps. Loads matplotlib, and no torch."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

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
_COLORS = {"lr": "C2", "images_per_s": "C3", "data_wait": "C5", "memory_gb": "C6"}
_EVALUATED = (("eval", "evaluation", "C1", "o"), ("eval_ema", "evaluation, averaged weights", "C4", "s"))


def png(past: History) -> bytes:
    stream = io.BytesIO()
    draw(past).savefig(stream, format="png", dpi=120)
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
                if (records := past.of_kind(kind)) or kind == "eval":
                    steps, values = ([record[key] for record in records] for key in ("step", name))
                    _line(axes, steps, values, label, color, marker=marker)
            axes.legend(loc="upper right" if name == "loss" else "lower right")  # the best place takes long to find
        axes.set(xlabel="optimizer step", ylabel=_LABELS[name])
        axes.grid(alpha=0.3)
        for step in restarts:
            axes.axvline(step, color="0.4", linestyle=":", linewidth=1, zorder=0)
    panels["data_wait"].set_ylim(0, 100)
    for name in ("images_per_s", "memory_gb"):
        panels[name].set_ylim(0, 1.05 * panels[name].get_ylim()[1])
    return figure


def _line(axes: Axes, steps: ArrayLike, values: ArrayLike, label: str, color: str, *, marker: str = "") -> None:
    figures = np.asarray(values, dtype=float)
    known = ~np.isnan(figures)
    size = 5 if known.sum() <= 40 else 2
    axes.plot(np.asarray(steps)[known], figures[known], label=label, color=color, marker=marker, markersize=size)

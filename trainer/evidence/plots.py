"""The curves of a run, over its steps. Loads matplotlib, and no torch."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Records = list[dict[str, Any]]

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


def png(records: Records) -> bytes:
    stream = io.BytesIO()
    draw(records).savefig(stream, format="png", dpi=120)
    return stream.getvalue()


def draw(records: Records) -> Figure:
    """Loss, top-1, learning rate, throughput, wait for data and memory; a dotted line at each start but the first."""
    figure = Figure(figsize=(11, 10), layout="constrained")
    restarts = {record["step"] for record in records if record["kind"] == "start" and record["step"] > 0}
    panels: dict[str, Axes] = dict(zip(_LABELS, figure.subplots(3, 2).flat, strict=True))
    for name, axes in panels.items():
        _line(axes, _of(records, "train"), name, "training", _COLORS.get(name, "C0"))
        if name not in _COLORS:
            for kind, label, color, marker in _EVALUATED:
                if (points := _of(records, kind)) or kind == "eval":
                    _line(axes, points, name, label, color, marker=marker)
            axes.legend()
        axes.set(xlabel="optimizer step", ylabel=_LABELS[name])
        axes.grid(alpha=0.3)
        for step in restarts:
            axes.axvline(step, color="0.4", linestyle=":", linewidth=1, zorder=0)
    panels["data_wait"].set_ylim(0, 100)
    for name in ("images_per_s", "memory_gb"):
        panels[name].set_ylim(0, 1.05 * panels[name].get_ylim()[1])
    return figure


def _line(axes: Axes, records: Records, name: str, label: str, color: str, *, marker: str = "") -> None:
    records = [record for record in records if name in record]
    unit = 100 if name == "data_wait" else 1
    steps, values = [r["step"] for r in records], [unit * r[name] for r in records]
    axes.plot(steps, values, label=label, color=color, marker=marker, markersize=5 if len(records) <= 40 else 2)


def _of(records: Records, kind: str) -> Records:
    return [record for record in records if record["kind"] == kind]

"""The curves of a run, over its steps. Loads matplotlib, and no torch."""

import io
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Records = list[dict[str, Any]]

WORDS = "loss, top-1, learning rate, images/s, wait for data and memory over the steps"


def png(records: Records) -> bytes:
    """The picture as a file."""
    stream = io.BytesIO()
    draw(records).savefig(stream, format="png", dpi=120)
    return stream.getvalue()


def draw(records: Records) -> Figure:
    """Loss, top-1, learning rate, throughput, wait for data and memory; a dotted line at each start but the first."""
    figure = Figure(figsize=(11, 10), layout="constrained")
    loss, top1, lr, speed, wait, memory = figure.subplots(3, 2).flat
    _learning(loss, records, "loss", "loss")
    _learning(top1, records, "top1", "top-1, %")
    _single(lr, records, "lr", "learning rate", "C2")
    _single(speed, records, "images_per_s", "images/s", "C3")
    _single(wait, records, "data_wait", "waiting for data, % of the time", "C5", lambda share: 100 * share)
    wait.set_ylim(0, 100)
    _single(memory, records, "memory_gb", "most memory so far, GB", "C6")
    for axes in (speed, memory):
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    for axes in (loss, top1, lr, speed, wait, memory):
        for step in {record["step"] for record in records if record["kind"] == "start" and record["step"] > 0}:
            axes.axvline(step, color="0.4", linestyle=":", linewidth=1, zorder=0)
    return figure


def _learning(axes: Axes, records: Records, name: str, label: str) -> None:
    """The same quantity in training and in evaluation."""
    train, evaluation, averaged = (_of(records, kind) for kind in ("train", "eval", "eval_ema"))
    _line(axes, train, name, "training", "C0")
    _line(axes, evaluation, name, "evaluation", "C1", marker="o")
    if averaged:
        _line(axes, averaged, name, "evaluation, averaged weights", "C4", marker="s")
    _label(axes, label)
    axes.legend()


def _single(
    axes: Axes,
    records: Records,
    name: str,
    label: str,
    color: str,
    unit: Callable[[float], float] = float,
) -> None:
    points = [{**record, name: unit(record[name])} for record in _of(records, "train") if name in record]
    _line(axes, points, name, label, color)
    _label(axes, label)


def _line(axes: Axes, records: Records, name: str, label: str, color: str, *, marker: str = "") -> None:
    size = 5 if len(records) <= 40 else 2
    steps, values = [r["step"] for r in records], [r[name] for r in records]
    axes.plot(steps, values, label=label, color=color, marker=marker, markersize=size)


def _label(axes: Axes, text: str) -> None:
    axes.set(xlabel="optimizer step", ylabel=text)
    axes.grid(alpha=0.3)


def _of(records: Records, kind: str) -> Records:
    return [record for record in records if record["kind"] == kind]

"""report.md and curves.png, made from what the run directory holds. Loads no torch."""

from datetime import UTC, datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.config import Recipe
from trainer.decode import differences, encode
from trainer.recipe import load
from trainer.rundir import RunDirectory, write_text

Records = list[dict[str, Any]]


def write(run: RunDirectory) -> None:
    """Write the report and its plot, of a run that is finished or not."""
    records = run.records()
    draw(records).savefig(run.curves, dpi=120)
    sections = [_verdict(run), _curves(run), _evaluations(records), _stretches(records), _departures(run)]
    title = f"# {load(str(run.recipe)).model.name} in {run.path.name}"
    write_text(run.report, "\n\n".join([title, *filter(None, sections)]) + "\n")


def draw(records: Records) -> Figure:
    """Loss, top-1, learning rate and throughput over the steps."""
    train, evaluation, averaged = (_of(records, kind) for kind in ("train", "eval", "eval_ema"))
    figure = Figure(figsize=(11, 7), layout="constrained")
    loss, top1, lr, speed = figure.subplots(2, 2).flat
    for axes, name, label in ((loss, "loss", "loss"), (top1, "top1", "top-1, %")):
        _line(axes, train, name, "training", "C0")
        _line(axes, evaluation, name, "evaluation", "C1", marker="o")
        if averaged:
            _line(axes, averaged, name, "evaluation, averaged weights", "C4", marker="s")
        _label(axes, label)
        axes.legend()
    _line(lr, train, "lr", "learning rate", "C2")
    _label(lr, "learning rate")
    _line(speed, train, "images_per_s", "images/s", "C3")
    _label(speed, "images/s")
    speed.set_ylim(bottom=0)
    return figure


def _line(axes: Axes, records: Records, name: str, label: str, color: str, marker: str = "") -> None:
    axes.plot([r["step"] for r in records], [r[name] for r in records], label=label, color=color, marker=marker)


def _label(axes: Axes, text: str) -> None:
    axes.set(xlabel="optimizer step", ylabel=text)
    axes.grid(alpha=0.3)


def _verdict(run: RunDirectory) -> str:
    result = run.finished()
    if not result:
        return "**Not finished.** The same command goes on from the newest checkpoint."
    raw = result.get("raw_weights")
    rows = {
        "top-1": f"**{result['top1']:.2f} %** (best after any epoch: {result['best_top1']:.2f} %)",
        "top-5": f"{result['top5']:.2f} %",
        **({"without averaging": f"top-1 {raw['top1']:.2f} %, top-5 {raw['top5']:.2f} %"} if raw else {}),
        "images evaluated": f"{result['images']:,}, each once{_left_out(result['val_broken'] + result['broken'])}",
        "protocol": result["protocol"],
        "images seen in training": f"{result['images_seen']:,} in {result['epochs']} epochs",
        "training images": f"{result['train_images']:,}{_left_out(result['train_broken'])}",
        "images replaced in training": f"{result['train_replaced']:,}, which could not be read or decoded",
        "seed": result["seed"],
        "commit": f"`{result['commit']}`",
        "recipe (SHA-256)": f"`{result['recipe_sha256']}`",
        "training images (SHA-256)": f"`{result['train_sha256']}`",
        "evaluation images (SHA-256)": f"`{result['val_sha256']}`",
    }
    return _table(("", "result"), [(name, str(value)) for name, value in rows.items()])


def _left_out(broken: int) -> str:
    return f"; {broken:,} broken {'is' if broken == 1 else 'are'} left out" if broken else ""


def _curves(run: RunDirectory) -> str:
    return f"![loss, top-1, learning rate and images/s over the steps]({run.curves.name})"


def _evaluations(records: Records) -> str:
    rows = [
        (
            *(str(r["epoch"]), str(r["step"]), "averaged" if r["kind"] == "eval_ema" else "raw"),
            *(f"{r['top1']:.2f}", f"{r['top5']:.2f}", f"{r['loss']:.4f}"),
        )
        for r in records
        if r["kind"] in ("eval", "eval_ema")
    ]
    head = ("epoch", "step", "weights", "top-1, %", "top-5, %", "loss")
    return "## Evaluations\n\n" + _table(head, rows) if rows else ""


def _stretches(records: Records) -> str:
    rows = [
        (
            datetime.fromtimestamp(r["time"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            str(r["step"]),
            f"{r['world_size']} x {r['device']} on {r['host']}",
            f"{r['launcher']}, {r['threads']} threads, loader {r['loader']}, Python {r['python']}",
            ", ".join(f"{name} {version}" for name, version in r["packages"].items()),
        )
        for r in _of(records, "start")
    ]
    return "## Starts\n\n" + _table(("time (UTC)", "after step", "where", "how", "packages"), rows) if rows else ""


def _departures(run: RunDirectory) -> str:
    rows = [
        (f"`{path}`", str(default), str(ours))
        for path, default, ours in differences(encode(Recipe()), encode(load(str(run.recipe))))
    ]
    return "## Recipe, where it departs from the defaults\n\n" + _table(("field", "default", "this run"), rows)


def _of(records: Records, kind: str) -> Records:
    return [record for record in records if record["kind"] == kind]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cells) + " |"

    return "\n".join([line(head), line(("---",) * len(head)), *map(line, rows)])

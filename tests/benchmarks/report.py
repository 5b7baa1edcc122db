"""What the bench found: tables for the eye, JSON for programs."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from data.workers import cores
from tests.benchmarks.loaders import Figures, Row
from tests.benchmarks.loaders_config import OURS, BenchConfig

WIDTH = 160  # of a table that goes to a file
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pillow",
    "simplejpeg",
    "numpy",
    "nvidia-dali-cuda130",
    "nvidia-dali-cuda120",
)
LOADERS = ("loader", "images/s", "CPU ms", "x torchvision", "middle half", "% of floor", "first batch", "what")
PARTS = ("part", "CPU ms", "share")
GIL = ("threads", "images/s", "of one thread's", "CPU ms", "launch alone, us", "beside them, us", "slower")
THREADS = ("threads", "images/s", "of one thread's", "CPU ms")


def machine() -> dict[str, Any]:
    """What it was measured on, and how busy that was before."""
    return {
        "cores": cores(),
        "cpu": _cpu(),
        "load_average": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
    }


def show_loaders(rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """The comparison, and the rate from shards where it was measured."""
    title = f"{facts['cores']} cores, {facts['cpu']}, load average {facts['load_average'][0]:.1f} before"
    _show(title, LOADERS, [_loader_cells(row) for row in rows])
    for name, gain in shards_gain(rows).items():
        _console().print(f"{name}: from shards {gain:.2f} times its rate from the image tree", highlight=False)


def show_scaling(rows: Sequence[Row]) -> None:
    """Plain threads, from few to many."""
    _show("this package's threads, in one process", THREADS, [_thread_cells(row, rows) for row in by_threads(rows)])


def show_operators(parts: dict[str, float]) -> None:
    """Where the time of this package's threads goes."""
    whole = sum(parts.values())
    cells = [(name, f"{taken:.3f}", f"{100 * taken / whole:.0f} %") for name, taken in parts.items()]
    _show("an image's way through this package's threads", PARTS, [*cells, ("all", f"{whole:.3f}", "100 %")])


def show_gil(rows: Sequence[Any], python_ms: float) -> None:
    """Rows of `gil.measure`, and the bound that the Python code of an image sets."""
    cells = [
        (
            *(f"{row.threads}", f"{row.images_per_s:,.0f}", f"{row.images_per_s / rows[0].images_per_s:.2f}"),
            *(
                f"{row.cpu_ms:.3f}",
                f"{row.alone_us:.2f}",
                f"{row.beside_us:.2f}",
                f"{row.beside_us / row.alone_us:.2f}",
            ),
        )
        for row in rows
    ]
    bound = f"{python_ms:.3f} ms of Python an image: at most {1e3 / python_ms:,.0f} images/s a process"
    _show(f"this package's threads where decoding and resizing are waits without the GIL; {bound}", GIL, cells)


def by_threads(rows: Sequence[Row]) -> list[Row]:
    """From few to many."""
    return sorted(rows, key=lambda row: int(row.name))


def shards_gain(rows: Sequence[Row]) -> dict[str, float]:
    """CPU time from the image tree divided by that from shards, of our loaders that were measured on both."""
    found = {row.name: row.figures for row in rows}
    pairs = {name: (found.get(name), found.get(f"{name}, shards")) for name in OURS}
    return {name: whole.cpu_ms / packed.cpu_ms for name, (whole, packed) in pairs.items() if whole and packed}


def save(file: Path, config: BenchConfig, facts: dict[str, Any], tables: dict[str, Any]) -> None:
    """Write all as JSON; `tables` by name, rows as they are."""
    file.write_text(
        json.dumps({"machine": facts, "options": asdict(config), **tables}, indent=2, default=asdict) + "\n"
    )


def _show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=SIMPLE)
    for name in head:
        table.add_column(name, justify="left" if name in ("loader", "what", "part") else "right")
    for row in rows:
        table.add_row(*row)
    console = _console()
    console.print(title, markup=False, highlight=False)  # a table's own title is broken at the table's width
    console.print(table)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _loader_cells(row: Row) -> list[str]:
    if not row.figures:
        return [row.name, *["-"] * 6, row.problem]
    figures, note = row.figures, row.facts["note"]
    ratio, middle = "-", "-"
    if figures.ratio and figures.spread:
        ratio, middle = f"{figures.ratio:.2f}", f"{figures.spread[0]:.2f} to {figures.spread[1]:.2f}"
    floor = f"{100 * figures.of_floor:.0f} %" if figures.of_floor else "-"
    what = f"{row.what} ({note})" if note else row.what
    return [row.name, *_speed(figures), ratio, middle, floor, f"{figures.first_batch_s:.1f} s", what]


def _thread_cells(row: Row, rows: Sequence[Row]) -> list[str]:
    one = by_threads(rows)[0].figures
    if not row.figures or not one:
        return [row.name, row.problem, "-", "-"]
    rate, cpu = _speed(row.figures)
    return [row.name, rate, f"{row.figures.images_per_s / one.images_per_s:.2f}", cpu]


def _speed(figures: Figures) -> tuple[str, str]:
    return f"{figures.images_per_s:,.0f}", f"{figures.cpu_ms:.2f}"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""What `python -m models` shows: tables as plain text, a bar on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to stdout, one line a row whatever the terminal's width; what is there when Ctrl-C comes, too."""
    lines = [head]
    try:
        lines += rows
    finally:
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            sys.stdout.write("  ".join(cells).rstrip() + "\n")


def progress(items: Sequence[Item]) -> Iterable[Item]:
    """The items, with a bar on stderr while someone watches."""
    console = Console(stderr=True)
    return track(items, description="", console=console, transient=True, disable=not console.is_terminal)

"""Which classes a network takes for which: counts, table and picture. Loads no torch, and matplotlib only to draw."""

import io
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.names import cell, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 100  # classes of which the whole matrix is kept
PAIRS = 100  # of more classes: the pairs that are kept
TABLE, PICTURE = "confusion.csv", "confusion.png"
LONGEST = 28  # characters of a name in the picture
_COUNTED = 25  # classes of which the picture has the numbers

Confusion = list[list[int]]
"""Number of a class, number of the answer, and how many images of the class got it; the most frequent first."""


def counted(classes: ArrayLike, answers: ArrayLike, num_classes: int) -> Confusion:
    """How often each answer was given to images of each class: all, or of more than `MOST` classes `PAIRS` mistakes."""
    kinds, times = np.unique(np.stack([classes, answers], 1), axis=0, return_counts=True)
    rows = np.column_stack([kinds, times])[np.argsort(-times, kind="stable")]
    return rows.tolist() if num_classes <= MOST else mistakes(rows.tolist())[:PAIRS]


def mistakes(counts: Confusion) -> Confusion:
    """Those in which the answer is another class."""
    return [[number, answer, times] for number, answer, times in counts if number != answer]


def matrix(counts: Confusion, size: int) -> NDArray[np.int64]:
    """(size, size): images of the class of the row that got the answer of the column."""
    square, (rows, columns, times) = np.zeros((size, size), np.int64), np.array(counts, np.int64).reshape(-1, 3).T
    square[rows, columns] = times
    return square


def table(counts: Confusion, names: Sequence[str]) -> Iterable[Sequence[Any]]:
    """Rows of a CSV file: the matrix, or of more than `MOST` classes the mistakes."""
    if len(names) > MOST:
        pairs = ((cell(names[number]), cell(names[answer]), times) for number, answer, times in counts)
        return [("class", "taken for", "times"), *pairs]
    head, rows = [*map(cell, names)], matrix(counts, len(names)).tolist()
    return [("class", *head), *((name, *row) for name, row in zip(head, rows, strict=True))]


def png(counts: Confusion, names: Sequence[str]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        draw(counts, names).savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def draw(counts: Confusion, names: Sequence[str]) -> "Figure":
    """The matrix as a picture: rows are classes, columns answers, colours shares of the row."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    size, square = len(names), matrix(counts, len(names))
    shares = square / np.maximum(square.sum(1, keepdims=True), 1)
    labels = [name if len(name) <= LONGEST else f"{name[:16]}...{name[19 - LONGEST :]}" for name in map(shown, names)]
    figure = Figure(figsize=(side := min(5 + 0.25 * size, 18), side * 0.92), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))  # the root, so that few mistakes show
    figure.colorbar(image, ax=axes, shrink=0.5, pad=0.01, label="share of the images of the class")
    style: dict[str, Any] = {"fontsize": 9 if size <= _COUNTED else 6.5, "parse_math": False}
    axes.set_xticks(range(size), labels, rotation=90, **style)
    axes.set_yticks(range(size), labels, **style)
    axes.set(xlabel="answer", ylabel="class")
    for row, column in np.argwhere(square) if size <= _COUNTED else ():
        color = "white" if shares[row, column] > 0.4 else "black"
        axes.text(column, row, f"{square[row, column]:,}", ha="center", va="center", fontsize=7, color=color)
    return figure

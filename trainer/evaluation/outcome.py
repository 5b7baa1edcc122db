"""The results of an evaluation: accuracy, a table of classes, and their files. Loads no torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data import durable, schema
from data.catalog.manifest import Manifest
from data.names import cell, shown
from models import class_names
from trainer import confusion
from trainer.evaluation import statistics
from trainer.evaluation.image_set import SPLIT
from trainer.evaluation.labels import Labels
from trainer.evaluation.predictions import CONFIDENCE, FIRST_ANSWER, INDEX, LOSS, VALID, Predictions, write_csv
from trainer.recipe.config import Recipe
from trainer.recipe.identity import recipe_hash
from trainer.rundir import write_text
from trainer.sources import PREDICTIONS

SCHEMA = 1
SUMMARY = "evaluation.json"
CLASSES = "classes.csv"
HEAD = ("class", "name", "images", "top1", "top5", "most often taken for", "times")
WORST = 5
BINS = 15  # 1706.04599, section 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """An accuracy of a run's weights, and how it was measured."""

    top1: float
    """Percent."""
    top5: float
    """Percent."""
    images: int
    """Number of evaluated images, each counted once."""
    broken: int
    """Images that were left out."""
    protocol: str
    """Name, as `trainer.evaluation.protocol` writes it."""
    weights: str
    """raw or ema."""
    seed: int
    recipe_sha256: str
    commit: str | None
    train_sha256: str | None
    val_sha256: str | None
    """Of the list of the evaluated images."""
    weights_sha256: str | None = None
    """None where it is not stored."""
    images_seen: int | None = None
    """Training images that the network has seen; None where it is not stored."""
    labels: str = SPLIT
    """Name of the labels; `SPLIT`: those of the class folders."""
    interval: tuple[float, float] | None = None
    """95 % interval of top-1, percent, by the number of images."""


def accuracy(content: Mapping[str, Any], recipe: Recipe, **own: Any) -> Accuracy:
    """Read an accuracy from result.json or evaluation.json; `own` are the fields that the two name differently.

    Raises:
        KeyError, TypeError, ValueError: The content is damaged.
    """
    shares = {name: float(content[name]) for name in ("top1", "top5")}
    counts = {name: int(content[name]) for name in ("images", "broken")}
    hashes = {name: content.get(name) for name in ("commit", "train_sha256", "val_sha256")}
    return Accuracy(**shares, **counts, **hashes, **own, seed=recipe.seed, recipe_sha256=recipe_hash(recipe))


def predictions(rows: NDArray[np.float64], images: Manifest, labels: Labels) -> Predictions:
    """Answers in the manifest's order, of the images that were read and have a label.

    Args:
        rows: Result of `passes.rows`.
        images: The evaluated images.
        labels: Their labels.
    """
    rows = rows[rows[:, VALID] > 0]
    rows = rows[np.argsort(rows[:, INDEX])]
    index, answers = rows[:, INDEX].astype(np.int64), rows[:, FIRST_ANSWER:].astype(np.int32)
    own = replace(labels, targets=labels.targets[index], accepted=[labels.accepted[row] for row in index])
    judged = own.judged()
    return Predictions(
        names=np.array([images.name(row) for row in index[judged].tolist()], dtype=str),
        targets=own.targets[judged].astype(np.int32),
        answers=answers[judged],
        confidence=rows[judged, CONFIDENCE].astype(np.float32),
        losses=rows[judged, LOSS].astype(np.float32),
        right=own.right(answers.astype(np.int64))[judged],
        about={},
    )


def figures(answers: Predictions) -> dict[str, Any]:
    """Accuracy with its interval, loss and calibration, of at least one image."""
    count, top1, top5 = len(answers), int(answers.top1.sum()), int(answers.top5.sum())
    return {
        "top1": 100 * top1 / count,
        "top5": 100 * top5 / count,
        "loss": float(answers.losses.astype(np.float64).mean()),
        "images": count,
        "top1_interval": statistics.wilson(top1, count),
        "top5_interval": statistics.wilson(top5, count),
        "ece": calibration_error(answers.confidence, answers.top1),
    }


def calibration_error(confidence: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 equal bins of confidence, 0 to 1.

    Args:
        confidence: (N,) probability that the network gives its answer.
        right: (N,) whether the answer is right.

    Reference:
        1706.04599, equation 3.
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    surplus = np.bincount(bins, confidence.astype(np.float64) - right, BINS)  # summed over each bin
    return float(np.abs(surplus).sum() / len(confidence))


def free(folder: Path, answers: Predictions) -> Path:
    """The folder, or one beside it where it holds an evaluation of other images, labels or precision."""
    summary = folder / SUMMARY
    if not summary.exists():
        return folder
    try:
        there: dict[str, Any] = schema.parse(summary.read_text(encoding="utf-8"))
    except ValueError:  # damaged: to be overwritten
        return folder
    if all(there.get(key) == answers.about[key] for key in ("val_sha256", "label_set", "precision")):
        return folder
    labels = hashlib.sha256(answers.about["label_set"].encode()).hexdigest()[:4]
    images = str(answers.about["val_sha256"])[:8]
    return folder.with_name(f"{folder.name}-{images}-{labels}-{answers.about['precision']}")


def write(answers: Predictions, labels: Labels, folder: Path) -> None:
    """Write predictions, table of classes and, last, the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    answers.save(folder / PREDICTIONS)
    rows = ([_cell(value) for value in row] for row in classes(answers, labels))
    write_csv(folder / CLASSES, [HEAD, *rows])
    _write_confusion(answers, labels, folder)
    content = {"schema": SCHEMA, **answers.about}
    write_text(folder / SUMMARY, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _write_confusion(answers: Predictions, labels: Labels, folder: Path) -> None:
    """Write which classes were taken for which: the table, and of few classes the picture."""
    predicted = np.where(answers.top1, answers.targets, answers.answers[:, 0])  # several classes may be right
    numbers = np.union1d(labels.columns, predicted)
    names = [named(number, labels.names) for number in numbers.tolist()]
    rows, columns = (np.searchsorted(numbers, each) for each in (answers.targets, predicted))
    counts = confusion.counted(rows, columns, len(numbers))
    write_csv(folder / confusion.TABLE, confusion.table(counts, names))
    if len(names) <= confusion.MOST:
        durable.replace(folder / confusion.PICTURE, confusion.png(counts, names))


class ClassRow(NamedTuple):
    """A class, its top-1 and top-5 in percent, and the class that its images are most often mistaken for."""

    number: int
    name: str
    """Its folder, and for ImageNet's synsets the English name."""
    images: int
    top1: float
    top5: float
    mistaken_for: str
    """Empty where all are right."""
    times: int | None


def classes(answers: Predictions, labels: Labels) -> list[ClassRow]:
    """A row for each class that there are images of."""
    numbers, index = np.unique(answers.targets, return_inverse=True)
    counts, right1, right5 = (np.bincount(index, hits).tolist() for hits in (None, answers.top1, answers.top5))
    mistakes, rows = _mistakes(answers), list[ClassRow]()
    for number, count, one, five in zip(numbers.tolist(), counts, right1, right5, strict=True):
        other, times = mistakes.get(number, (None, None))
        other_name = "" if other is None else named(other, labels.names)
        shares = 100 * one / count, 100 * five / count
        rows.append(ClassRow(number, named(number, labels.names), count, *shares, other_name, times))
    return rows


def lines(answers: Predictions, labels: Labels) -> list[str]:
    about, rows = answers.about, classes(answers, labels)
    low, high = about["top1_interval"]
    left = [f"{about[name]:,} {text}" for name, text in _LEFT_OUT.items() if about[name]]
    comparable = about["protocol"] == about["own_protocol"] and about["label_set"] == SPLIT
    published = about["published_top1"] if comparable else None
    worst = sorted(rows, key=lambda row: (row.top1, row.number))[:WORST]
    return [
        ", ".join([f"{about['weights_of']} on {about['data']}: {about['images']:,} images, each once", *left]),
        f"  {about['protocol']}: {about['protocol_words']}; {about['label_words']}; {about['weights']} weights, "
        f"{about['precision']}",
        f"  top-1 {about['top1']:.3f} % (95 % interval {low:.2f} to {high:.2f}), top-5 {about['top5']:.3f} %, "
        f"loss {about['loss']:.4f}, calibration error {about['ece']:.4f}",
        *([f"  its package states top-1 {published:.3f} %"] if published is not None else []),
        f"  lowest: {', '.join(f'{shown(row.name)} {row.top1:.1f} %' for row in worst)}",
    ]


_LEFT_OUT = {"broken": "broken and left out", "unlabelled": "without a label and left out"}


def _mistakes(answers: Predictions) -> dict[int, tuple[int, int]]:
    """By class the class that its images are most often mistaken for, the lower number of two, and how often."""
    wrong = ~answers.top1
    pairs = np.stack([answers.targets[wrong], answers.answers[wrong, 0]], axis=1)
    kinds, times = np.unique(pairs, axis=0, return_counts=True)
    order = np.lexsort((-kinds[:, 1], times))  # of a class the last remains
    counted = zip(kinds[order].tolist(), times[order].tolist(), strict=True)
    return {target: (answer, count) for (target, answer), count in counted}


def named(number: int, names: Mapping[int, str]) -> str:
    folder = names.get(number, str(number))
    word = _words().get(folder)
    return f"{folder} ({word})" if word else folder


def _cell(value: float | str | None) -> float | str | None:
    """A value of a row of `classes.csv`."""
    return f"{value:.2f}" if isinstance(value, float) else cell(value) if isinstance(value, str) else value


_words = cache(class_names.names)

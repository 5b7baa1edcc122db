"""What an evaluation came to: figures, a table of classes, and their files. Loads no torch."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog.manifest import Manifest
from models import class_names
from trainer.evaluation import statistics
from trainer.evaluation.image_set import SPLIT
from trainer.evaluation.labels import Labels
from trainer.evaluation.predictions import CONFIDENCE, FIRST_ANSWER, INDEX, LOSS, VALID, Predictions
from trainer.evaluation.request import PREDICTIONS
from trainer.rundir import write_text

SCHEMA = 1
SUMMARY = "evaluation.json"
CLASSES = "classes.csv"
HEAD = ("class", "name", "images", "top1", "top5", "most often taken for", "times")
WORST = 5
BINS = 15  # 1706.04599, section 5


def predictions(rows: NDArray[np.float64], images: Manifest, labels: Labels) -> Predictions:
    """Answers in the manifest's order, of the images that were read and have a label.

    Args:
        rows: What `passes.rows` gave.
        images: What was evaluated.
        labels: The truth about it.
    """
    rows = rows[rows[:, VALID] > 0]
    rows = rows[np.argsort(rows[:, INDEX])]
    index, answers = rows[:, INDEX].astype(np.int64), rows[:, FIRST_ANSWER:].astype(np.int32)
    accepted = [labels.accepted[row] for row in index] if labels.accepted is not None else None
    own = replace(labels, targets=labels.targets[index], accepted=accepted)
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


def figures(found: Predictions) -> dict[str, Any]:
    """Accuracy with its interval, loss and calibration, of at least one image."""
    count, top1, top5 = len(found), int(found.top1.sum()), int(found.top5.sum())
    return {
        "top1": 100 * top1 / count,
        "top5": 100 * top5 / count,
        "loss": float(found.losses.astype(np.float64).mean()),
        "images": count,
        "top1_interval": statistics.wilson(top1, count),
        "top5_interval": statistics.wilson(top5, count),
        "ece": calibration_error(found.confidence, found.top1),
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


def free(folder: Path, found: Predictions) -> Path:
    """The folder, or one beside it where it holds an evaluation of other images, labels or precision."""
    summary = folder / SUMMARY
    if not summary.exists():
        return folder
    try:
        there: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    except ValueError:  # damaged: to be written anew
        return folder
    if all(there.get(key) == found.about[key] for key in ("val_sha256", "label_set", "precision")):
        return folder
    labels = hashlib.sha256(found.about["label_set"].encode()).hexdigest()[:4]
    return folder.with_name(f"{folder.name}-{found.about['val_sha256'][:8]}-{labels}-{found.about['precision']}")


def write(found: Predictions, labels: Labels, folder: Path) -> None:
    """Write predictions, table of classes and, last, the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    found.save(folder / PREDICTIONS)
    with (folder / CLASSES).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEAD)
        writer.writerows(row.cells for row in classes(found, labels))
    content = {"schema": SCHEMA, **found.about}
    write_text(folder / SUMMARY, json.dumps(content, indent=2, allow_nan=False) + "\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRow:
    """One class."""

    number: int
    name: str
    """Its folder, and for ImageNet's synsets a word."""
    images: int
    top1: float
    """Percent."""
    top5: float
    rival: str
    """The class that its images are most often taken for; nothing where all are right."""
    times: int
    """How often."""

    @property
    def cells(self) -> tuple[object, ...]:
        """For the table."""
        shares = (f"{self.top1:.2f}", f"{self.top5:.2f}")
        return self.number, self.name, self.images, *shares, self.rival, self.times or ""


def classes(found: Predictions, labels: Labels) -> list[ClassRow]:
    """A row for each class that there are images of."""
    numbers, place = np.unique(found.targets, return_inverse=True)
    counts, right1, right5 = (np.bincount(place, hits) for hits in (None, found.top1, found.top5))
    rivals = _rivals(found)
    return [
        ClassRow(
            number=number,
            name=named(number, labels.names),
            images=int(count),
            top1=100 * one / count,
            top5=100 * five / count,
            rival=named(rivals[number][0], labels.names) if number in rivals else "",
            times=rivals[number][1] if number in rivals else 0,
        )
        for number, count, one, five in zip(numbers.tolist(), counts, right1, right5, strict=True)
    ]


def lines(found: Predictions, labels: Labels) -> list[str]:
    """The result, for the console."""
    about, rows = found.about, classes(found, labels)
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
        f"  lowest: {', '.join(f'{row.name} {row.top1:.1f} %' for row in worst)}",
    ]


_LEFT_OUT = {"broken": "broken and left out", "unlabelled": "without a label and left out"}


def _rivals(found: Predictions) -> dict[int, tuple[int, int]]:
    """By class what its images are most often wrongly taken for, and how often; the lower number of two."""
    wrong = ~found.top1
    pairs = np.stack([found.targets[wrong], found.answers[wrong, 0]], axis=1)
    kinds, times = np.unique(pairs, axis=0, return_counts=True)
    order = np.lexsort((-kinds[:, 1], times))  # what comes last stays
    found_times = zip(kinds[order].tolist(), times[order].tolist(), strict=True)
    return {target: (answer, count) for (target, answer), count in found_times}


def named(number: int, names: Mapping[int, str]) -> str:
    """A class for people."""
    folder = names.get(number, str(number))
    word = _words().get(folder)
    return f"{folder} ({word})" if word else folder


_words = cache(class_names.names)

"""The answers of a network to each image, in a compact file, and how two sets of them differ. Loads no torch."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import schema
from data.durable import whole
from data.names import cell
from data.schema import NewerSchemaError
from trainer.evaluation import statistics
from trainer.rundir import write_text

SCHEMA = 1
ANSWERS = 5
COMPARISON_SCHEMA = 1
COMPARISON = "comparison.json"
DIFFERENCES = "differences.csv"
HEAD = ("image", "class", "right", "first's answer", "its probability", "second's answer", "its probability")
SHOWN = 10
LEVEL = 0.05  # significance level of the test

# columns of `passes.rows`: index in the manifest, whether the image counts, and the answers
INDEX, VALID, LOSS, CONFIDENCE, FIRST_ANSWER = range(5)


class DamagedPredictionsError(ValueError):
    """A file that holds no predictions; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Answers to N images in the order of their manifest, without those that could not be read or have no label.

    50,000 images take 1 MB on the disk.
    """

    names: NDArray[Any]
    """(N,) file below the split's folder, or name in its archive."""
    targets: NDArray[np.int32]
    """(N,) class number of the image's folder."""
    answers: NDArray[np.int32]
    """(N, 5) most probable classes, the best first; fewer where there are fewer classes."""
    confidence: NDArray[np.float32]
    """(N,) probability of the best."""
    losses: NDArray[np.float32]
    """(N,) cross-entropy of the folder's class."""
    right: NDArray[np.bool_]
    """(N, 5) which answers are right."""
    about: dict[str, Any]
    """Which network, protocol, labels and images: the content of evaluation.json."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def top1(self) -> NDArray[np.bool_]:
        """(N,) whether the best answer is right."""
        return self.right[:, 0]

    @property
    def top5(self) -> NDArray[np.bool_]:
        """(N,) whether one of the five is."""
        return np.asarray(self.right.any(axis=1))

    def save(self, file: Path) -> None:
        """Write to `file` (.npz), all or nothing."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        with whole(file, shared=True) as stream:
            np.savez_compressed(stream, schema=SCHEMA, about=json.dumps(self.about), **columns)


MOST_BYTES = 1 << 30  # unpacked: of ten million images
ABOUT = ("weights_of", "protocol", "weights", "label_set", "precision", "val_sha256")
COLUMNS = ("names", "targets", "answers", "confidence", "losses", "right")


def load(file: Path) -> Predictions:
    """Read what `save` wrote.

    Raises:
        DamagedPredictionsError: The file is of another version, or holds something else.
        OSError: It cannot be read.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            if (size := sum(part.file_size for part in stored.zip.infolist())) > MOST_BYTES:
                raise ValueError(f"{size:,} bytes unpacked; predictions have at most {MOST_BYTES:,}")
            schema.check(int(stored["schema"]), SCHEMA, file)
            about = schema.parse(str(stored["about"]))
            loaded = Predictions(about=about, **{name: stored[name] for name in COLUMNS})
        _check(loaded)
        return loaded
    except NewerSchemaError as error:
        raise DamagedPredictionsError(f"{error}, or evaluate again") from None
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise errors of any kind on damaged files
        why = schema.reason(error)
        raise DamagedPredictionsError(f"{file} holds no predictions: {why}; evaluate again to write them") from None


def _check(loaded: Predictions) -> None:
    if lacking := [key for key in ABOUT if key not in loaded.about]:
        raise ValueError(f"it does not say its {lacking[0]}")
    shapes = [getattr(loaded, name).shape for name in COLUMNS]
    rows, answers = shapes[0], loaded.answers.shape
    if not len(rows) == 1 < len(answers) or any(shape not in (rows, (*rows, answers[-1])) for shape in shapes):
        raise ValueError(f"its columns have the shapes {shapes}")


class OtherImagesError(ValueError):
    """Two sets of answers to different images, which cannot be compared; the message says how they differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two networks on the same images, by top-1."""

    first: str
    second: str
    images: int
    both_right: int
    only_first: int
    """Images that the first alone has right."""
    only_second: int
    both_wrong: int
    difference: float
    """The second's top-1 less the first's, points."""
    interval: tuple[float, float]
    """Its 95 % interval, points."""
    p_value: float
    """McNemar's exact test, two-sided."""
    other_answers: int
    """Images to which they answer differently, right or wrong."""

    @property
    def lines(self) -> list[str]:
        better = self.second if self.difference > 0 else self.first
        verdict = f"{better} is better" if self.p_value < LEVEL else "these images do not show which is better"
        low, high = self.interval
        return [
            f"first   {self.first}",
            f"second  {self.second}",
            f"of {self.images:,} images both have {self.both_right:,} right and {self.both_wrong:,} wrong, the first "
            f"alone {self.only_first:,} right, the second alone {self.only_second:,}; their answers differ on "
            f"{self.other_answers:,}",
            f"second less first: {self.difference:+.3f} points of top-1 (95 % interval {low:+.3f} to {high:+.3f}); "
            f"McNemar's exact p = {self.p_value:.3g}: {verdict}",
        ]


def compare(first: Predictions, second: Predictions) -> Comparison:
    """Count on how many images each is right, and test the difference.

    Raises:
        OtherImagesError: The images or the labels differ.
    """
    if first.names.tolist() != second.names.tolist():
        only = len(set(first.names.tolist()) ^ set(second.names.tolist()))
        how = f"of other images: {only:,} are in one alone" if only else "of images in another order"
        raise OtherImagesError(f"{_title(first)} and {_title(second)} are {how}")
    if not np.array_equal(first.targets, second.targets) or first.about["label_set"] != second.about["label_set"]:
        raise OtherImagesError(f"{_title(first)} and {_title(second)} were judged by other labels")
    one, other = first.top1, second.top1
    only_first, only_second, both = int((one & ~other).sum()), int((other & ~one).sum()), int((one & other).sum())
    difference, *interval = statistics.difference(only_first, only_second, len(first))
    return Comparison(
        first=_title(first),
        second=_title(second),
        images=len(first),
        both_right=both,
        only_first=only_first,
        only_second=only_second,
        both_wrong=len(first) - both - only_first - only_second,
        difference=difference,
        interval=(interval[0], interval[1]),
        p_value=statistics.mcnemar(only_first, only_second),
        other_answers=int(_differ(first, second).sum()),
    )


def caveats(first: Predictions, second: Predictions) -> list[str]:
    """What besides the weights may cause the difference."""
    keys = {"protocol": "protocol", "precision": "precision", "val_sha256": "content of the images (SHA-256)"}
    return [
        f"note: {text}: {first.about[key]} and {second.about[key]}"
        for key, text in keys.items()
        if first.about[key] != second.about[key]
    ]


def write_comparison(comparison: Comparison, first: Predictions, second: Predictions, folder: Path) -> None:
    """Write the figures, and every image on which the answers differ, the surest first."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / DIFFERENCES, [HEAD, *differences(first, second)])
    write_text(folder / COMPARISON, json.dumps({"schema": COMPARISON_SCHEMA, **asdict(comparison)}, indent=2) + "\n")


def write_csv(file: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, all or nothing."""
    write_text(file, csv_text(rows))


def csv_text(rows: Iterable[Sequence[Any]], end: str = "\r\n") -> str:
    text = StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue()


def differences(first: Predictions, second: Predictions) -> list[tuple[Any, ...]]:
    rows = np.flatnonzero(_differ(first, second))
    surest = np.minimum(first.confidence[rows], second.confidence[rows])
    right = {(True, False): "first", (False, True): "second", (False, False): "neither", (True, True): "both"}
    return [
        (
            *(
                cell(str(first.names[row])),
                int(first.targets[row]),
                right[bool(first.top1[row]), bool(second.top1[row])],
            ),
            *(int(first.answers[row, 0]), f"{first.confidence[row]:.4f}"),
            *(int(second.answers[row, 0]), f"{second.confidence[row]:.4f}"),
        )
        for row in rows[np.argsort(-surest, kind="stable")].tolist()
    ]


def _differ(first: Predictions, second: Predictions) -> NDArray[np.bool_]:
    return np.asarray(first.answers[:, 0] != second.answers[:, 0])


def _title(answers: Predictions) -> str:
    return f"{answers.about['weights_of']} ({answers.about['protocol']}, {answers.about['weights']} weights)"

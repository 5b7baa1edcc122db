"""The answers of a network to each image, in a compact file. Loads no torch."""

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import schema
from data.durable import flush
from data.schema import NewerSchemaError

SCHEMA = 1
ANSWERS = 5

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
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        columns = {name: getattr(self, name) for name in COLUMNS}
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, schema=SCHEMA, about=json.dumps(self.about), **columns)
            flush(stream)
        temporary.replace(file)


COLUMNS = ("names", "targets", "answers", "confidence", "losses", "right")


def load(file: Path) -> Predictions:
    """Read what `save` wrote.

    Raises:
        DamagedPredictionsError: The file is of another version, or holds something else.
        OSError: It cannot be read.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            schema.check(int(stored["schema"]), SCHEMA, file)
            about = json.loads(str(stored["about"]))
            return Predictions(about=about, **{name: stored[name] for name in COLUMNS})
    except NewerSchemaError as error:
        raise DamagedPredictionsError(f"{error}, or evaluate again") from None
    except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedPredictionsError(f"{file} holds no predictions: {error}; evaluate again to write them") from None

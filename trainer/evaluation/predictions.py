"""What a network answered to each image, in a compact file. Loads no torch."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import schema
from data.durable import whole
from data.schema import NewerSchemaError

SCHEMA = 1
ANSWERS = 5

# columns of what a network's pass gives for each image: its place in the manifest, whether it counts, and the answers
INDEX, VALID, LOSS, CONFIDENCE, FIRST_ANSWER = range(5)


class DamagedPredictionsError(ValueError):
    """A file that holds no predictions; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Of N images, in the order of their manifest; those that could not be read, or have no label, are not among them.

    50,000 images take 1 MB on the disk.
    """

    names: NDArray[Any]
    """(N,) file below the split's folder, or name in its archive."""
    targets: NDArray[np.int32]
    """(N,) class of the image's folder, as the network numbers it."""
    answers: NDArray[np.int32]
    """(N, 5) most probable classes, the best first; fewer where there are fewer classes."""
    confidence: NDArray[np.float32]
    """(N,) probability of the best."""
    losses: NDArray[np.float32]
    """(N,) cross-entropy of the folder's class."""
    right: NDArray[np.bool_]
    """(N, 5) which answers are right."""
    about: dict[str, Any]
    """Whose answers, under which protocol: what evaluation.json holds."""

    def __len__(self) -> int:
        """Images that were answered."""
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

"""Images that are there more than once, byte for byte."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog.listing import HASH_BYTES
from data.catalog.manifest import Manifest


def duplicates(train: Manifest, val: Manifest) -> list[tuple[int, int]]:
    """One pair of rows, in train and in val, for each image of val that train has too; of several there, the first."""
    content, first = np.unique(_contents(train), return_index=True)
    wanted = _contents(val)
    places = np.searchsorted(content, wanted)
    rows = np.flatnonzero(content[np.minimum(places, len(content) - 1)] == wanted) if len(content) else []
    return [(int(first[places[row]]), int(row)) for row in rows]


def repeated(split: Manifest) -> int:
    """Images of a split that equal an earlier one."""
    return len(split) - len(np.unique(_contents(split)))


def _contents(split: Manifest) -> NDArray[Any]:
    """(N,) hashes as strings of bytes, which can be sorted; all have the same length, so padding tells none apart."""
    return np.ascontiguousarray(split.hashes).view(f"S{HASH_BYTES}").ravel()

from pathlib import Path
from typing import Any

import numpy as np

from data.catalog.manifest import Manifest
from data.verify.findings import duplicates, repeated


def split(*contents: str) -> Manifest:
    """Images whose hashes are these texts and zeros behind."""
    column, total = np.zeros(len(contents), np.int64), len(contents)
    hashes = np.frombuffer(b"".join(text.encode().ljust(16, b"\0") for text in contents), np.uint8).reshape(total, 16)
    numbers = ("targets", "widths", "heights", "sizes", "mtimes", "offsets", "archive", "formats", "modes")
    columns: dict[str, Any] = {name: column for name in (*numbers, "orientations", "ends")}
    return Manifest(
        root=Path("x"),
        classes=("a",),
        archives=(),
        **columns,
        hashes=hashes,
        names=np.zeros(0, np.uint8),
    )


def test_images_of_both_splits_are_paired() -> None:
    assert duplicates(split("d", "b", "a", "b"), split("x", "b", "a", "b", "")) == [(1, 1), (2, 2), (1, 3)]


def test_hashes_that_differ_after_a_zero_are_not_the_same() -> None:
    assert duplicates(split("a\0b"), split("a", "a\0c")) == []
    assert repeated(split("a\0b", "a", "a\0c")) == 0


def test_empty_splits_have_none() -> None:
    assert duplicates(split(), split("a")) == []
    assert duplicates(split("a"), split()) == []
    assert repeated(split()) == 0


def test_repeats_within_a_split_are_counted_without_their_first() -> None:
    assert repeated(split("a", "b", "a", "a", "c", "b")) == 3

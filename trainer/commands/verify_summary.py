"""What a scan found, as a table for a terminal."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.catalog.manifest import FORMATS, MODES, Manifest
from data.verify.findings import duplicates, repeated

MOST_NAMED = 20
PAIRS_NAMED = 5


class Scanned(NamedTuple):
    """One split."""

    split: str
    manifest: Manifest
    read: int
    """Images that were read: the others were known."""
    seconds: float


def text(train: Scanned, val: Scanned) -> str:
    """The table, the broken images and the duplicates, by name as far as there are few."""
    lines = [*_table((train, val)), *_broken((train, val)), *_shared(train.manifest, val.manifest)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _table(scans: Sequence[Scanned]) -> list[str]:
    cells = [["", *(scan.split for scan in scans)]]
    cells += [[title, *map(fact, scans)] for title, fact in _ROWS.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]


def _volume(scan: Scanned) -> str:
    return f"{scan.manifest.sizes.sum() / 1e6:,.1f} MB" + (
        f", {scan.manifest.sizes.mean() / 1e3:,.1f} KB each" if len(scan.manifest) else ""
    )


def _spread(values: NDArray[np.int64]) -> str:
    return f"{values.min():,} / {values.mean():,.0f} / {values.max():,} px" if len(values) else "-"


def _counts(numbers: NDArray[np.int64], names: tuple[str, ...]) -> str:
    """Each name with its count, the most frequent first."""
    counts = np.bincount(numbers, minlength=len(names))
    order = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    return ", ".join(f"{names[index]} {counts[index]:,}" for index in order) or "-"


def _effort(scan: Scanned) -> str:
    total = len(scan.manifest) + len(scan.manifest.broken)
    if not scan.read:
        return f"none, unchanged since the last time ({scan.seconds:.1f} s)"
    return f"{scan.read:,} of {total:,} in {scan.seconds:.1f} s, {scan.read / max(scan.seconds, 1e-3):,.0f} images/s"


_ROWS: dict[str, Callable[[Scanned], str]] = {
    "usable images": lambda scan: f"{len(scan.manifest):,}",
    "broken images": lambda scan: f"{len(scan.manifest.broken):,}",
    "classes": lambda scan: f"{len(scan.manifest.classes):,}",
    "volume": _volume,
    "width, least / mean / most": lambda scan: _spread(scan.manifest.widths),
    "height, least / mean / most": lambda scan: _spread(scan.manifest.heights),
    "formats": lambda scan: _counts(scan.manifest.formats, FORMATS),
    "colour spaces": lambda scan: _counts(scan.manifest.modes, MODES),
    "turned by EXIF, which training ignores": lambda scan: f"{np.count_nonzero(scan.manifest.orientations > 1):,}",
    "copies of an image of the same split": lambda scan: f"{repeated(scan.manifest):,}",
    "read now": _effort,
}


def _broken(scans: Sequence[Scanned]) -> list[str]:
    named = [f"  {scan.manifest.root / image.name}: {image.reason}" for scan in scans for image in scan.manifest.broken]
    return _some("broken, and left out in training:", named, MOST_NAMED)


def _shared(train: Manifest, val: Manifest) -> list[str]:
    pairs = duplicates(train, val)
    named = [f"  {val.label(there)} is {train.label(here)}" for here, there in pairs[:PAIRS_NAMED]]
    return _some(f"images of val that are in train too: {len(pairs):,}", named, PAIRS_NAMED, len(pairs))


def _some(title: str, named: list[str], most: int, total: int | None = None) -> list[str]:
    total = len(named) if total is None else total
    more = [f"  and {total - most:,} more"] if total > most else []
    return [title, *named[:most], *more] if named else []

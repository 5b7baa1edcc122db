"""The facts of each image of a listing while it is scanned, the manifest made from them, and duplicates in it."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.catalog.listing import HASH_BYTES, Entry, Listing
from data.catalog.manifest import Manifest
from data.types import BrokenImage
from data.verify.inspection import Chunk, Facts, Finding
from data.verify.scan_journal import Record

CHUNK = 32  # images that a worker decodes at a time: a tenth of a second, so that Ctrl-C acts soon
CHUNK_KNOWN = 512  # images of which a worker reads no more than a header, or only checks whether their file changed

_UNKNOWN = -1  # the size of an image that was not read yet, or is broken
_FACTS = np.dtype(
    [
        *((name, np.int64) for name in ("size", "mtime")),
        *((name, np.int32) for name in ("width", "height")),
        *((name, np.uint8) for name in ("format", "mode", "orientation")),
        ("digest", np.void, HASH_BYTES),
    ]
)
_COLUMNS = {f"{fact}s": fact for fact in Facts._fields if fact != "digest"}  # of a manifest


class Findings:
    """A row of facts for each image, or the reason why it is broken."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._facts: NDArray[Any] = np.zeros(len(listing.entries), _FACTS)
        self._facts["size"] = _UNKNOWN
        self._reasons: dict[int, str] = {}

    def remember(self, known: Manifest | None, records: Iterable[Record]) -> None:
        """Add facts of an earlier scan and then of a journal, but for images that are no longer listed."""
        rows = {self._key(entry): row for row, entry in enumerate(self._listing.entries)}
        if known and known.hashed:
            self._remember_manifest(known, rows)
        for key, facts in records:
            if (row := rows.get(key)) is not None:
                self._facts[row] = facts

    def chunks(self, *, whole: bool) -> list[Chunk]:
        """All images, to be decoded if `whole` or, where facts are known, checked for a change."""
        known, total = self._facts["size"] >= 0, len(self._facts)
        borders = [0]
        for block in range(0, total, CHUNK_KNOWN):
            stop = min(block + CHUNK_KNOWN, total)
            borders += range(block + CHUNK, stop, CHUNK) if whole and not known[block:stop].all() else ()
            borders.append(stop)
        return [self._chunk(slice(*pair)) for pair in pairwise(borders)]

    def put(self, start: int, findings: Sequence[Finding]) -> list[Record]:
        """Add a worker's findings; returns the new facts."""
        new = list[Record]()
        for row, finding in enumerate(findings, start):
            if isinstance(finding, Facts):
                self._facts[row] = finding
                new.append((self._key(self._listing.entries[row]), finding))
            elif finding is not None:
                self._facts["size"][row] = _UNKNOWN
                self._reasons[row] = finding
        return new

    def manifest(self) -> Manifest:
        """The manifest of the listing, once all its images are known."""
        listing, usable = self._listing, self._facts["size"] >= 0
        entries = [listing.entries[row] for row in np.flatnonzero(usable).tolist()]
        facts = self._facts[usable]
        hashes = facts["digest"].copy().view(np.uint8).reshape(-1, HASH_BYTES)
        names = [os.fsencode(entry.name) for entry in entries]
        return Manifest(
            root=listing.root,
            rule=listing.rule,
            classes=listing.classes,
            archives=listing.archives,
            targets=_column(entry.target for entry in entries),
            offsets=_column(entry.offset for entry in entries),
            archive=_column(max(entry.archive, 0) for entry in entries),
            hashes=hashes if hashes.any(1).all() else hashes[:0],
            names=np.frombuffer(b"".join(names), np.uint8),
            ends=np.cumsum([len(name) for name in names], dtype=np.int64),
            broken=tuple(BrokenImage(self._name(row), self._reasons[row]) for row in sorted(self._reasons)),
            archive_sizes=_column((listing.root / archive).stat().st_size for archive in listing.archives),
            folders=tuple(listing.folders),
            folder_mtimes=_column(listing.folders.values()),
            **{column: facts[fact].astype(np.int64) for column, fact in _COLUMNS.items()},
        )

    def _remember_manifest(self, known: Manifest, rows: dict[str, int]) -> None:
        pairs = [(row, index) for index, key in enumerate(_keys(known)) if (row := rows.get(key)) is not None]
        ours, theirs = np.array(pairs, np.int64).reshape(-1, 2).T
        for column, fact in _COLUMNS.items():
            self._facts[fact][ours] = getattr(known, column)[theirs]
        self._facts["digest"][ours] = known.hashes[theirs].view((np.void, HASH_BYTES)).ravel()

    def _chunk(self, rows: slice) -> Chunk:
        return Chunk(rows.start, self._listing.entries[rows], self._facts["size"][rows], self._facts["mtime"][rows])

    def _key(self, entry: Entry) -> str:
        """Identifies an image from one scan to the next."""
        if entry.archive < 0:
            return entry.name
        return _key_inside(self._listing.archives[entry.archive], entry.offset, entry.name)

    def _name(self, row: int) -> str:
        entry = self._listing.entries[row]
        return entry.name if entry.archive < 0 else f"{self._listing.archives[entry.archive]}: {entry.name}"


def duplicates(train: Manifest, val: Manifest) -> list[tuple[int, int]]:
    """A pair of rows, in train and in val, for each image of val that train has too; of several in train, the first."""
    content, first = np.unique(_contents(train), return_index=True)
    wanted = _contents(val)
    nearest = np.searchsorted(content, wanted)
    rows = np.flatnonzero(content[np.minimum(nearest, len(content) - 1)] == wanted) if len(content) else []
    return [(int(first[nearest[row]]), int(row)) for row in rows]


def repeated(split: Manifest) -> int:
    """Number of images that equal an earlier one of the split."""
    return len(split) - len(np.unique(_contents(split)))


def _keys(known: Manifest) -> Iterator[str]:
    """The key of each image, as `Findings._key` has it."""
    names, start = known.names.tobytes(), 0
    for end, archive, offset in zip(*(c.tolist() for c in (known.ends, known.archive, known.offsets)), strict=True):
        name = os.fsdecode(names[start:end])
        yield _key_inside(known.archives[archive], offset, name) if known.archives else name
        start = end


def _key_inside(archive: str, offset: int, name: str) -> str:
    return f"{archive}\0{offset}\0{name}"


def _column(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64)


def _contents(split: Manifest) -> NDArray[Any]:
    """(N,) hashes as byte strings of one length, which numpy can sort."""
    return np.ascontiguousarray(split.hashes).view(f"S{HASH_BYTES}").ravel()

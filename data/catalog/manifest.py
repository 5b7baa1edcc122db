"""The list of a split's images, which loaders read instead of folders."""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import schema
from data.catalog.formats import RAW
from data.catalog.listing import HASH_BYTES, Contents
from data.durable import whole
from data.names import shown
from data.schema import NewerSchemaError
from data.types import BrokenImage

SCHEMA = 3  # of lists without hashes; those with hashes have 2, and older versions read them

MOST_PIXELS = 1 << 30  # of a side: what three times a square of it needs fits into 63 bits
MOST = 1 << 60  # bytes of a file

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class DamagedManifestError(ValueError):
    """A manifest that cannot be read; the message names the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """N usable images of one split, sorted by class and name, and its broken images.

    An image is a file below `root`, or a range of bytes in one of `archives` (tar shards, CIFAR's batches). Names are
    stored in one array of bytes, so that 1.28 million entries take 170 MB and no Python objects.
    """

    root: Path
    """Folder of the split."""
    classes: tuple[str, ...]
    """Names of the classes, sorted: a target is an index into them."""
    archives: tuple[str, ...]
    """Files below `root` that hold many images; empty for an image tree."""
    targets: Ints
    """(N,) index of the class."""
    widths: Ints
    """(N,) pixels as stored, EXIF orientation ignored."""
    heights: Ints
    """(N,) pixels as stored, EXIF orientation ignored."""
    sizes: Ints
    """(N,) bytes of the encoded image."""
    mtimes: Ints
    """(N,) time of the file's last change, ns since 1970; that of the archive for an image in one."""
    offsets: Ints
    """(N,) first byte of the image in its archive; 0 for a file."""
    archive: Ints
    """(N,) index of its archive; 0 where there is none."""
    formats: Ints
    """(N,) index into `FORMATS`: JPEG, PNG, raw pixels ..."""
    modes: Ints
    """(N,) index into `MODES`: colour space as Pillow names it."""
    orientations: Ints
    """(N,) EXIF orientation, 1 to 8; 0 where there is none."""
    hashes: Bytes
    """(N, 16) BLAKE2b of the encoded image, zero if it cannot be decoded; (0, 16) where only headers were read."""
    names: Bytes
    """All names without separators, in the file system's encoding: paths below `root`, or names in the archive."""
    ends: Ints
    """(N,) where each name ends in `names`."""
    broken: tuple[BrokenImage, ...] = ()
    """Images that cannot be decoded to their last byte, without rows above; named NAME, or ARCHIVE: NAME."""
    archive_sizes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """(len(archives),) bytes of each archive."""
    folders: tuple[str, ...] = ()
    """Folders below `root` that were searched, `root` itself as the empty name; none where there are archives."""
    folder_mtimes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """(len(folders),) time of each folder's last change, ns since 1970: a file added or removed changes it."""
    rule: str = ""
    """What of the data set's layout decides which images these are; empty for ROOT/<split>/<class>/."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def hashed(self) -> bool:
        """Whether all images were read to their last byte."""
        return len(self.hashes) == len(self)

    def name(self, index: int) -> str:
        """Name of one image, below `root` or in its archive."""
        start = int(self.ends[index - 1]) if index else 0
        return os.fsdecode(self.names[start : int(self.ends[index])].tobytes())

    def path(self, index: int) -> Path:
        """File that holds one image."""
        return self.root / (self.archives[self.archive[index]] if self.archives else self.name(index))

    def label(self, index: int) -> str:
        """Name of one image in messages."""
        return shown(f"{self.path(index)}: {self.name(index)}" if self.archives else self.path(index))

    def contents(self) -> Contents:
        """Its usable images; no class counts as empty where images are broken, as these may be the class's."""
        used = set[int]() if self.broken else set(np.flatnonzero(np.bincount(self.targets)).tolist())
        empty = [name for target, name in enumerate(self.classes) if target not in used and not self.broken]
        return Contents(self.root, self.classes, empty, len(self))

    def fingerprint(self) -> str | None:
        """Hex digest of classes, names and contents, equal for a tree and its shards; None: contents are not known."""
        if not self.hashed:
            return None
        if not (decoded := self.hashes.any(1)).all():
            return self.take(np.flatnonzero(decoded)).fingerprint()
        digest = hashlib.sha256(os.fsencode("\0".join(self.classes)))
        for column in (self.targets, self.names, self.ends, self.hashes):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def spread(self, count: int) -> "Manifest":
        """At most so many of the usable images, evenly spread; no broken ones."""
        return self.take(np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64)))

    def take(self, rows: Ints) -> "Manifest":
        """The usable images of these rows, which may repeat; no broken ones."""
        names = [os.fsencode(self.name(row)) for row in rows.tolist()]
        fixed = OF_THE_WHOLE if self.hashed else (*OF_THE_WHOLE, "hashes")
        columns = {name: getattr(self, name)[rows] for name in COLUMNS if name not in fixed}
        columns |= {
            "names": np.frombuffer(b"".join(names), np.uint8),
            "ends": np.cumsum([len(name) for name in names], dtype=np.int64),
        }
        return replace(self, broken=(), **columns)

    def save(self, file: Path) -> None:
        """Write to `file` (.npz), all or nothing.

        Raises:
            OSError: It cannot be written; names the file.
        """
        columns: dict[str, Any] = {name: _packed(getattr(self, name)) for name in COLUMNS}
        texts: dict[str, Any] = {name: np.array(getattr(self, name), dtype=str) for name in TEXTS}
        broken = np.array([(image.name, image.reason) for image in self.broken], dtype=str).reshape(-1, 2)
        with whole(file, shared=True) as stream:
            np.savez(stream, schema=SCHEMA - self.hashed, broken=broken, rule=self.rule, **texts, **columns)


COLUMNS: dict[str, Any] = {
    column.name: np.int64 if column.type == Ints else np.uint8
    for column in fields(Manifest)
    if column.type in (Ints, Bytes)
}
TEXTS = ("classes", "archives", "folders")
OF_THE_WHOLE = ("names", "archive_sizes", "folder_mtimes")  # columns without a row for each image


def load(file: Path, root: Path) -> Manifest:
    """Read what `save` wrote, for the images at `root`.

    Raises:
        DamagedManifestError: The file is of another version or is not a whole manifest.
        OSError: It cannot be read.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            if any(part.compress_type for part in stored.zip.infolist()):  # a megabyte could become a gigabyte
                raise ValueError("compressed, as no manifest is")
            schema.check(int(stored["schema"]), SCHEMA, file)
            if int(stored["schema"]) < SCHEMA - 1:
                raise ValueError(f"version {stored['schema']}, this program reads {SCHEMA - 1} and {SCHEMA}")
            images = Manifest(
                root=root,
                rule=str(stored["rule"]) if "rule" in stored else "",  # 0.1.0 knew no other layout
                broken=tuple(BrokenImage(str(name), str(reason)) for name, reason in stored["broken"]),
                **{name: tuple(map(str, stored[name].tolist())) for name in TEXTS},
                **{
                    name: stored[name].astype(dtype, casting="same_kind", copy=False) for name, dtype in COLUMNS.items()
                },
            )
        _check_numbers(images)
        _check_names(images)
        return images
    except NewerSchemaError as error:
        raise DamagedManifestError(f"{error}, or delete it: it will be written again") from None
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise errors of any kind on damaged files
        why = schema.reason(error)
        raise DamagedManifestError(f"{file} is no manifest: {why}; delete it: it will be written again") from None


def _check_numbers(images: Manifest) -> None:
    """Make sure that no column is cut short, and that no number leads out of another column or of an archive."""
    count, text = len(images), int(images.ends[-1]) if len(images.ends) else 0
    shapes = dict.fromkeys(COLUMNS, (count,)) | {"names": (text,)}
    shapes |= {"hashes": (count if len(images.hashes) else 0, HASH_BYTES)}
    shapes |= {"archive_sizes": (len(images.archives),), "folder_mtimes": (len(images.folders),)}
    if wrong := next((name for name, shape in shapes.items() if getattr(images, name).shape != shape), None):
        raise ValueError(f"{wrong} has the shape {getattr(images, wrong).shape}, not {shapes[wrong]}")
    ranges = {"targets": (0, len(images.classes) - 1), "archive": (0, max(len(images.archives) - 1, 0))}
    ranges |= dict.fromkeys(("widths", "heights"), (1, MOST_PIXELS)) | dict.fromkeys(("sizes", "offsets"), (0, MOST))
    for name, (least, most) in ranges.items():
        column = getattr(images, name)
        if count and not least <= column.min() <= column.max() <= most:
            raise ValueError(f"{name} goes from {column.min()} to {column.max()}, beyond {least} to {most}")
    ends = images.offsets + images.sizes
    if images.archives and (ends > images.archive_sizes[images.archive]).any():
        raise ValueError("an image ends behind its archive")
    raw = images.formats == RAW
    if (images.sizes[raw] != 3 * images.widths[raw] * images.heights[raw]).any():
        raise ValueError("raw pixels have another size than their width and height")


def _check_names(images: Manifest) -> None:
    """Make sure that no name leads out of `root`, as one from another user's list might."""
    starts = images.ends - np.diff(images.ends, prepend=0)
    if (starts > images.ends).any():
        raise ValueError("ends do not rise")
    begun = np.flatnonzero(starts < images.ends)
    os.fsencode("".join(images.classes))
    # two searches: one for both takes six times as long, which is seconds of 14 million names
    dots = [*(match.start() for match in re.finditer(rb"\.\.", images.names.data)), *np.flatnonzero(images.names == 0)]
    suspects = {*np.searchsorted(images.ends, dots, "right"), *begun[images.names[starts[begun]] == ord("/")]}
    for name in (*images.archives, *images.folders, *(images.name(int(row)) for row in suspects)):
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            raise ValueError(f"{shown(name)} leads out of the folder of the images")


def names(file: Path, rows: Iterable[int]) -> list[str]:
    """Names of some rows of a stored manifest, without reading its other columns.

    Raises:
        Exception: Of any kind, as zipfile, zlib and numpy raise them; the file is damaged, or has no such rows.
    """
    with file.open("rb") as stream, np.load(stream) as stored:
        text, ends = stored["names"], stored["ends"]
    return [os.fsdecode(text[int(ends[row - 1]) if row else 0 : int(ends[row])].tobytes()) for row in rows]


def _packed(column: NDArray[Any]) -> NDArray[Any]:
    """As the smallest integer type that holds it: each run directory has a copy."""
    if column.dtype != np.int64 or not len(column):
        return column
    return column.astype(np.min_scalar_type(column.max())) if column.min() >= 0 else column

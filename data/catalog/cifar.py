"""CIFAR-10 and CIFAR-100 on disk as torchvision lays them out: pickles whose pixels lie in one block of bytes.

An image is a row of that block: 1,024 bytes of red, then of green, then of blue, row by row of 32 pixels.
Reference: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), and its page.
"""

import io
import os
import pickle
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from data.catalog.listing import Entry, Listing

SIDE = 32
ROW = 3 * SIDE * SIDE

_ARRAY = np.zeros(1, np.uint8)
_RECONSTRUCT: Callable[..., Any] = _ARRAY.__reduce__()[0]  # type: ignore[assignment]
_FROM_BUFFER: Callable[..., Any] = _ARRAY.__reduce_ex__(5)[0]  # type: ignore[assignment]

# what arrays of numbers are pickled with, under the names of old and new versions of numpy
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
}
# what unpickling raises on damaged files
DAMAGED = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, MemoryError),
    *(OverflowError, struct.error, AssertionError),
)


class CifarError(ValueError):
    """A file of CIFAR that cannot be used; the message names it, the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two data sets."""

    folder: str
    """Folder that its archive unpacks to."""
    meta: str
    """File with the names of the classes."""
    names: str
    """Their key in that file."""
    labels: str
    """Key of the targets in a batch."""
    batches: dict[str, tuple[str, ...]]
    """Files of each split."""


KINDS = (
    Kind(
        folder="cifar-10-batches-py",
        meta="batches.meta",
        names="label_names",
        labels="labels",
        batches={"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "val": ("test_batch",)},
    ),
    Kind(
        folder="cifar-100-python",
        meta="meta",
        names="fine_label_names",
        labels="fine_labels",
        batches={"train": ("train",), "val": ("test",)},
    ),
)


class Pickles(NamedTuple):
    """One of the two data sets on disk."""

    folder: Path
    kind: Kind


def find(root: Path) -> tuple[Pickles, ...]:
    """CIFAR-10 and CIFAR-100, each in its own folder below `root`, or one of them in `root` itself."""
    below = [Pickles(root / kind.folder, kind) for kind in KINDS if (root / kind.folder / kind.meta).is_file()]
    # a file called `meta` may lie anywhere, but not with a batch beside it
    itself = (kind for kind in KINDS if all((root / name).is_file() for name in (kind.meta, *kind.batches["val"])))
    return tuple(below or [Pickles(root, kind) for kind in itself])


def only(root: Path, pickles: tuple[Pickles, ...]) -> Pickles:
    """The one data set that `find` found at `root`.

    Raises:
        CifarError: It found both.
    """
    first, *others = pickles
    if others:
        raise CifarError(f"{root} holds CIFAR-10 and CIFAR-100; name the folder of one, such as {first.folder}")
    return first


def listing(pickles: Pickles, split: str) -> Listing:
    """The images of a split, each with its offset in a batch; `val` is what CIFAR calls test.

    Raises:
        CifarError: A file is missing, damaged, or not as CIFAR's are.
        OSError: A file cannot be read.
    """
    folder, kind = pickles
    classes = _classes(folder / kind.meta, kind)
    batches = kind.batches[split]
    entries = [entry for number in range(len(batches)) for entry in _batch(folder, kind, batches, number, len(classes))]
    return Listing(root=folder, classes=classes, entries=sorted(entries), archives=batches, raw=(SIDE, SIDE))


def _classes(path: Path, kind: Kind) -> tuple[str, ...]:
    names = _load(path, path.read_bytes()).get(kind.names)
    if not _are_names(names):
        raise CifarError(f"{path} has no list of names {kind.names!r}; unpack the official archive again")
    return tuple(names)


def _batch(folder: Path, kind: Kind, batches: tuple[str, ...], number: int, num_classes: int) -> list[Entry]:
    path = folder / batches[number]
    if not path.is_file():
        raise CifarError(f"{path} is missing; unpack the official archive again")
    content = path.read_bytes()
    batch = _load(path, content)
    start = _block(path, content, batch.get("data"))
    count = batch["data"].shape[0]
    targets = batch.get(kind.labels)
    if not isinstance(targets, list) or len(targets) != count:
        raise CifarError(f"{path} lacks {kind.labels!r}, one for each of {count:,} images; unpack it again")
    if wrong := [target for target in targets if not isinstance(target, int) or not 0 <= target < num_classes]:
        label = wrong[0] if isinstance(wrong[0], int) and abs(wrong[0]) < 1 << 31 else type(wrong[0]).__name__
        raise CifarError(f"{path} has the label {label!r}, but there are {num_classes} classes; unpack it again")
    names = _names(batch.get("filenames"), count)
    return [
        Entry(target, f"{path.name}/{row:05d}{names[row]}", number, start + row * ROW, ROW)
        for row, target in enumerate(targets)
    ]


def _names(names: object, count: int) -> list[str]:
    """What is added to each image's number: the name of its original file, where that is known."""
    if not _are_names(names) or len(names) != count:
        return [".png"] * count
    return [f"_{name.rpartition('/')[2]}" for name in names]


def _are_names(names: object) -> TypeGuard[list[str]]:
    """Whether it is a list of texts that can be names of files or classes."""
    with suppress(TypeError, UnicodeEncodeError):
        return isinstance(names, list) and bool(os.fsencode("".join(names)))
    return False


def _block(path: Path, content: bytes, data: Any) -> int:
    """Offset of the pixels in the file."""
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != ROW:
        raise CifarError(f"{path} has no array 'data' of rows of {ROW:,} bytes; unpack the official archive again")
    start = content.find(data.tobytes()) if data.size < len(content) else -1  # else it refers to one row many times
    if start < 0 or not data.size:
        raise CifarError(f"{path} does not hold its pixels in one block, as the official files do; unpack those again")
    return start


def _load(path: Path, content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of Python 2 or 3; nothing but numbers, texts and arrays is constructed."""
    try:
        values = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CifarError(f"{path} cannot be read: {reason}; unpack the official archive again") from None
    if not isinstance(values, dict):
        raise CifarError(f"{path} holds no dictionary; unpack the official archive again")
    return values


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of CIFAR needs") from None

"""Reads the pickles that CIFAR comes in, without running what a pickle may ask to have run."""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_ARRAY = np.zeros(1, np.uint8)
_RECONSTRUCT: Callable[..., Any] = _ARRAY.__reduce__()[0]  # type: ignore[assignment]
_FROM_BUFFER: Callable[..., Any] = _ARRAY.__reduce_ex__(5)[0]  # type: ignore[assignment]

# what arrays of plain numbers are made of, under the names that old and new versions of numpy give it
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
    """A file of CIFAR that cannot be used; the message names it, says why, and the mend."""


def load(path: Path, content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of Python 2 or 3.

    Raises:
        CifarError: It is damaged, or asks for more than numbers, texts and arrays.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CifarError(f"{path} cannot be read: {reason}; unpack the official archive again") from None
    if not isinstance(found, dict):
        raise CifarError(f"{path} holds no dictionary; unpack the official archive again")
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of CIFAR needs") from None

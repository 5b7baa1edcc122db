"""Turns what decoders raise into one error: the image is broken. Loads no torch, which every worker would load too."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import EpsImagePlugin, UnidentifiedImageError

from data.types import BrokenImageError

LONGEST_REASON = 200  # characters
EpsImagePlugin.gs_binary = False  # a file of any name may be PostScript: a program, which Ghostscript may run for ever
LARGEST_BYTES = 4 * 89_478_485  # bytes of the largest image that Pillow decodes without a warning


@contextmanager
def decoding() -> Iterator[None]:
    """Turn any error in the block into a `BrokenImageError`: decoders raise errors of any kind on damaged files.

    Raises:
        BrokenImageError: The image cannot be decoded; the message is one line without its name.
        MemoryError: The machine lacks the memory for the largest image that can be decoded.
    """
    try:
        yield
    except BrokenImageError:
        raise
    except UnidentifiedImageError:  # whose message has an address in memory
        raise BrokenImageError("no image, by its first bytes") from None
    except MemoryError:
        np.empty(LARGEST_BYTES, np.uint8)
        raise BrokenImageError("its decoder asks for more memory than its pixels take") from None
    except Exception as error:
        raise BrokenImageError(_reason(error)) from None


def _reason(error: Exception) -> str:
    """One line without the file's name, which the caller adds."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:LONGEST_REASON] or type(error).__name__

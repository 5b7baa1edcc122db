"""What a decoder raises, told as the image's fault or as the machine's. Loads no torch, as each worker would."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import EpsImagePlugin, UnidentifiedImageError

from data.types import BrokenImageError

LONGEST_REASON = 200  # characters
EpsImagePlugin.gs_binary = False  # a file of any name may be PostScript: a program, which Ghostscript may run for ever
ROOM = 4 * 89_478_485  # bytes of the largest image that Pillow decodes without a warning


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever is raised within into a `BrokenImageError`: decoders raise errors of any kind on damaged files.

    Interrupts pass, and so does a lack of memory that is the machine's.

    Raises:
        BrokenImageError: The image cannot be decoded; the message says why in one line, without its name.
        MemoryError: The machine has no memory for a large image that is sound.
    """
    try:
        yield
    except BrokenImageError:
        raise
    except UnidentifiedImageError:  # whose message holds an address in memory
        raise BrokenImageError("no image, by its first bytes") from None
    except MemoryError:
        np.empty(ROOM, np.uint8)
        raise BrokenImageError("its decoder asks for more memory than its pixels take") from None
    except Exception as error:
        raise BrokenImageError(_reason(error)) from None


def _reason(error: Exception) -> str:
    """In one line, without the name of the file, which is told beside it."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:LONGEST_REASON] or type(error).__name__

"""Whether a stop leaves time to save: the grace beside the time that a checkpoint takes here. Standard library only."""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from data.durable import flush

GRACE_VARIABLE = "PROVENET_GRACE_S"  # seconds from a stop's signal to the kill, as whoever started us says

_PROBE_BYTES = 64 << 20  # enough to see the disk through its caches' flush, and a fraction of a second
_REST_S = 5  # a step in flight, the report, the processes' own end


def grace_s(environment: Mapping[str, str] = os.environ) -> int | None:
    """Seconds that a stop leaves, or None where nobody has said."""
    text = environment.get(GRACE_VARIABLE, "")
    return int(text) if text.isdigit() else None


def measured_write_s(folder: Path, count: int) -> float:
    """Seconds to write so many bytes to a folder's disk and flush them, from a trial with some of them.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    size = max(1, min(count, _PROBE_BYTES))
    block = os.urandom(1 << 20)  # which no file system makes smaller
    with tempfile.TemporaryFile(dir=folder) as stream:
        start = time.monotonic()
        for written in range(0, size, len(block)):
            stream.write(block[: size - written])
        flush(stream)
        return (time.monotonic() - start) * count / size


def warning(write_s: float, count: int, grace_s: int) -> str | None:
    """Why a checkpoint may not stand before the kill, and what to set; None where it will."""
    need_s = 2 * write_s + _REST_S  # one may be under way already
    if need_s <= grace_s:
        return None
    return (
        f"a checkpoint of {count / 1e6:,.0f} MB takes {write_s:.1f} s to write here, and a stop leaves {grace_s} s: it "
        f"may come too late, and steps be trained again; raise --grace-s to {round(need_s + 1)} or more"
    )

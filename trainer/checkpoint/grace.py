"""Whether a stop leaves enough time to write a checkpoint. Loads no torch."""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from data.durable import flush

GRACE_VARIABLE = "PROVENET_GRACE_S"  # set by the launcher: seconds from the stop signal to the kill

_PROBE_BYTES = 64 << 20  # enough to measure the disk behind its caches, in a fraction of a second
_REST_S = 5  # to finish a step, write the report and end the processes


def grace_s(environment: Mapping[str, str] = os.environ) -> int | None:
    """Seconds that a stop leaves, or None where they are unknown."""
    text = environment.get(GRACE_VARIABLE, "")
    return int(text) if text.isdigit() else None


def measured_write_s(folder: Path, count: int) -> float:
    """Estimated seconds to write and flush `count` bytes in a folder, from a trial with some of them.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    size = max(1, min(count, _PROBE_BYTES))
    block = os.urandom(1 << 20)  # no file system compresses it
    with tempfile.TemporaryFile(dir=folder) as stream:
        start = time.monotonic()
        for written in range(0, size, len(block)):
            stream.write(block[: size - written])
        flush(stream)
        return (time.monotonic() - start) * count / size


def warning(write_s: float, count: int, grace_s: int) -> str | None:
    """A warning if a checkpoint may not be written before the kill, with what to set; or None."""
    need_s = 2 * write_s + _REST_S  # another may be under way
    if need_s <= grace_s:
        return None
    return (
        f"a checkpoint of {count / 1e6:,.0f} MB takes {write_s:.1f} s to write here, and a stop leaves {grace_s} s: it "
        f"may be lost, and steps trained again; raise --grace-s to {round(need_s + 1)} or more"
    )

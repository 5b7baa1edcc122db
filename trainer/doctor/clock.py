"""This machine's clock against the file server's, and so against the other nodes'. Standard library only."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from trainer.doctor.disk import existing
from trainer.doctor.finding import Finding, bad, good, note

BEARABLE_S = 1.0


def findings(output: Path | None) -> Iterator[Finding]:
    """Touch a file for a moment where the run will write, and look whose time it bears."""
    if output is None:
        return
    try:
        skew_s = measured(existing(output))
    except OSError as error:
        yield note(
            "clock", f"cannot be compared: {error.filename or output}: {error.strerror}", "name another --output"
        )
        return
    yield judged(skew_s)


def measured(folder: Path) -> float:
    """Seconds by which the file server's clock is ahead of ours; 0 on a disk of this machine.

    Raises:
        OSError: Nothing can be written there.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
        before = time.time()
        os.utime(file.name)  # without a time the server puts its own (NFS, Lustre); a write could bear the client's
        touched = Path(file.name).stat().st_mtime
        return skew(before, touched, time.time())


def skew(before: float, touched: float, after: float) -> float:
    """How far a time lies outside of the span in which it was taken."""
    return touched - min(max(touched, before), after)


def judged(skew_s: float) -> Finding:
    """Whether that much does harm."""
    if abs(skew_s) <= BEARABLE_S:
        return good("clock", "agrees with the file system's")
    way = "behind" if skew_s > 0 else "ahead of"
    says = (
        f"this machine's clock is {abs(skew_s):.1f} s {way} the file server's: provenet status takes a live "
        "run for a silent one, or the reverse, and times in the records of several nodes do not fit"
    )
    return bad("clock", says, "let chrony or ntpd set it: chronyc tracking; timedatectl set-ntp true")

"""What rank 0 does for all, and how the others learn that it cannot go on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from trainer.exits import RunEndedError
from trainer.runtime import Runtime

HEARTBEAT_S = 5.0


class PeerFailedError(RunEndedError):
    """Rank 0 cannot go on, and says why."""

    said_by = "none"


def aside(runtime: Runtime, work: Callable[[], Exception | None]) -> Exception | None:
    """Let rank 0 do some work, and the others wait for it (collective); what went wrong on rank 0.

    To look at a million images takes longer than a collective may: the ranks meet again and again meanwhile.
    """
    with ThreadPoolExecutor(1) as apart:
        working = apart.submit(work) if runtime.is_main else None
        while runtime.any(working is not None and bool(wait([working], timeout=HEARTBEAT_S).not_done)):
            pass
        return working.result() if working else None


def agree(runtime: Runtime, failure: Exception | None) -> None:
    """Let all processes leave together where one has failed (collective).

    Raises:
        Exception: This process's own failure.
        PeerFailedError: That of another.
    """
    if runtime.any(failure is not None):
        raise failure or PeerFailedError

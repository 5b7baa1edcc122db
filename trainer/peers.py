"""Work that rank 0 does for all, and leaving together where a process has failed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from trainer.exits import RunEndedError
from trainer.runtime import Runtime

T = TypeVar("T")

HEARTBEAT_S = 1.0  # much less than a process may seem to hang, see trainer/watcher.py


class PeerFailedError(RunEndedError):
    """Another process failed, and prints why."""

    said_by = "none"


def on_main(runtime: Runtime, work: Callable[[], T], *expected: type[Exception]) -> T | None:
    """Let rank 0 do some work while the others wait (collective); its result on rank 0, elsewhere None.

    Listing a million images takes longer than a collective may: the ranks meet again and again meanwhile.

    Raises:
        Exception: On rank 0, one of `expected`.
        PeerFailedError: On the others, where rank 0 raises one of `expected`.
    """
    result, failure = None, None
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work) if runtime.is_main else None
        while runtime.any(working is not None and bool(wait([working], timeout=HEARTBEAT_S).not_done)):
            pass
        try:
            result = working.result() if working else None
        except expected as error:
            failure = error
    agree(runtime, failure)
    return result


def agree(runtime: Runtime, failure: Exception | None) -> None:
    """Raise in all processes where one has failed (collective).

    Raises:
        Exception: The failure of this process.
        PeerFailedError: Another process has failed.
    """
    if runtime.any(failure is not None):
        raise failure or PeerFailedError

"""Expected failures of a run, printed in a few lines without a traceback."""

import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor

from data.catalog.manifest import DamagedManifestError
from data.load.backends import UnusableBackendError
from data.types import BrokenImageError, TooManyBrokenError
from trainer import exits
from trainer.exits import ABORTED, FAILED, RunEndedError, code_of, refuse, say
from trainer.runtime import lost_contact, may_hang
from trainer.stopping import START_AGAIN, StopRequestedError
from trainer.world import World

GO_ON = "once that is fixed, the same command goes on from here"

_DUMP_S = 20  # in which NCCL, whose timeout is the same, writes what its flight recorder holds


def explain(error: Exception, world: World) -> int | None:
    """Print why a run ended; returns its exit code, or None for an error that is not expected."""
    match error:
        case StopRequestedError():
            return say(f"stopped by {error} before the first step; the same command starts again", START_AGAIN)
        case RunEndedError(code=exits.BAD_INPUT):
            return refuse(str(error).splitlines(), world)
        case RunEndedError(said_by=by):
            return _failed(error, error.code, by == "each" or (by == "main" and world.is_main))
        case BrokenImageError() | TooManyBrokenError():  # which one process meets alone
            # if all images of a class cannot be read, their disk is gone
            return _failed(error, ABORTED if isinstance(error, BrokenImageError) else FAILED, True)
        case UnusableBackendError() | DamagedManifestError():  # which all processes meet together
            return _failed(error, FAILED, world.is_main)
        case OSError() | BrokenExecutor():
            reason, code = _broken_off(error)
            return _failed(f"{reason}; {GO_ON}", code, world.is_main)
        case RuntimeError() if lost_contact(error):
            return _lost(error, world)
        case _:
            return None


def explained(work: Callable[[], int], world: World) -> int:
    """Run `work`; its exit code, or that of an expected error, which is printed."""
    try:
        return work()
    except Exception as error:
        if (code := explain(error, world)) is None:
            raise
        return code


def _broken_off(error: OSError | BrokenExecutor) -> tuple[str, int]:
    """What a disk, the network or a lack of memory has ended, and the exit code."""
    if isinstance(error, BrokenExecutor):
        return "a process that reads images was killed", ABORTED
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error), code_of(error)


def _lost(error: RuntimeError, world: World) -> int:
    first = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
    if may_hang() and ("Timed out" in first or "timeout" in first):
        time.sleep(_DUMP_S)
    why = "; ".join((first, *getattr(error, "__notes__", ())))  # which of them hang
    return say(f"rank {world.rank} lost contact with another process: {why}", ABORTED)


def _failed(error: object, code: int, said: bool) -> int:
    return say(f"failed: {error}", code) if said else code

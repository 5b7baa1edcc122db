"""Expected failures of a run, printed in a few lines without a traceback."""

import time
from collections.abc import Callable

from trainer.exits import BAD_INPUT, refuse, say
from trainer.failures import failure
from trainer.runtime import lost_contact, may_hang
from trainer.stopping import StopRequestedError
from trainer.world import World

_DUMP_S = 20  # in which NCCL, whose timeout is the same, writes what its flight recorder holds


def explain(error: Exception, world: World) -> int | None:
    """Print why a run ended; returns its exit code, or None for an error that is not expected."""
    if (expected := failure(error)) is None:
        return None
    text, code, by = str(expected), expected.code, expected.said_by
    if code == BAD_INPUT:
        return refuse(text.splitlines(), world)
    if isinstance(error, StopRequestedError):
        return say(text, code)
    if isinstance(error, RuntimeError) and lost_contact(error):
        if may_hang() and ("Timed out" in text or "timeout" in text):
            time.sleep(_DUMP_S)
        return say(f"rank {world.rank} {text}", code)
    return say(f"failed: {text}", code) if by == "each" or (by == "main" and world.is_main) else code


def explained(work: Callable[[], int], world: World) -> int:
    """Run `work`; its exit code, or that of an expected error, which is printed."""
    try:
        return work()
    except Exception as error:
        if (code := explain(error, world)) is None:
            raise
        return code

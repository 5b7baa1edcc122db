"""Exit codes and messages of commands that continue where they were stopped. Standard library only."""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor

from trainer.exits import FAILED, INTERRUPTED, say


def resumable(run: Callable[[], int]) -> int:
    """Run a command; if it ends early, print why and that the same command continues. Returns the exit code."""
    try:
        return run()
    except KeyboardInterrupt:
        return say("interrupted; the same command goes on from here", INTERRUPTED)
    except BrokenExecutor:
        return say("failed: a worker was killed (out of memory?); the same command goes on from here", FAILED)
    except BrokenPipeError:  # the reader of the output is gone
        return 0
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return say(f"failed: {reason}; once that is fixed, the same command goes on from here", FAILED)

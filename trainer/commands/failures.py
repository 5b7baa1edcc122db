"""The failures of a run that are told in a few lines, without a traceback."""

import sys

from data.catalog.manifest import DamagedManifestError
from data.load.backends import UnusableBackendError
from data.types import BrokenImageError, TooManyBrokenError
from trainer import exits
from trainer.exits import ABORTED, FAILED, RunEndedError, refuse
from trainer.runtime import lost_contact
from trainer.stopping import START_AGAIN, StopRequestedError
from trainer.world import World


def told(error: Exception, world: World) -> int | None:
    """Say what ended a run, where that was foreseen; gives the exit code, or None."""
    match error:
        case StopRequestedError():
            return _say(f"stopped by {error} before the first step; the same command starts again", START_AGAIN)
        case RunEndedError(code=exits.BAD_INPUT):
            return refuse(str(error).splitlines(), world)
        case RunEndedError(said_by=by):
            return _failed(error, error.code, by == "each" or (by == "main" and world.is_main))
        case BrokenImageError() | TooManyBrokenError():  # which one process meets alone
            return _failed(error, _code(error), True)
        case UnusableBackendError() | DamagedManifestError() | OSError():  # which all processes meet together
            return _failed(error, _code(error), world.is_main)
        case RuntimeError() if lost_contact(error):
            first = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
            return _say(f"rank {world.rank} lost contact with another process: {first}", ABORTED)
        case _:
            return None


def _failed(error: Exception, code: int, said: bool) -> int:
    return _say(f"failed: {error}", code) if said else code


def _code(error: Exception) -> int:
    # where all images of a class are gone, so is their disk
    return ABORTED if isinstance(error, OSError | BrokenImageError) else FAILED


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code

"""The failures of a run that are told in a few lines, without a traceback."""

import sys

from data.load.backends import UnusableBackendError
from data.manifest import DamagedManifestError
from data.types import BrokenImageError, TooManyBrokenError
from trainer.boundary import SaveFailedError
from trainer.devices import SharedGpuError
from trainer.divergence import DivergedError
from trainer.exits import BROKE_OFF, FAILED, refuse
from trainer.images import UnusableDataError
from trainer.keep.holder import FencedError, HeldError
from trainer.memory import MemoryShortError
from trainer.peers import PeerFailedError
from trainer.preempt import START_AGAIN, StopRequestedError
from trainer.runtime import lost_contact
from trainer.telemetry.trackers import TrackerError
from trainer.world import World

# what one process meets alone, and must say itself
OWN = (BrokenImageError, TooManyBrokenError, MemoryShortError, FencedError, SaveFailedError, TrackerError)
# what all processes meet together, and rank 0 says
SHARED = (UnusableBackendError, UnusableDataError, DamagedManifestError, DivergedError, OSError)


def told(error: Exception, world: World) -> int | None:
    """Say what ended a run, where that was foreseen; gives the exit code, or None."""
    match error:
        case StopRequestedError():
            return _say(f"stopped by {error} before the first step; the same command starts again", START_AGAIN)
        case HeldError() | SharedGpuError():
            return refuse(str(error).splitlines(), world)
        case PeerFailedError():  # which says why
            return FAILED
        case _ if isinstance(error, OWN) or (isinstance(error, SHARED) and world.is_main):
            return _say(f"failed: {error}", _code(error))
        case _ if isinstance(error, SHARED):
            return _code(error)
        case RuntimeError() if lost_contact(error):
            first = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
            return _say(f"rank {world.rank} lost contact with another process: {first}", BROKE_OFF)
        case _:
            return None


def _code(error: Exception) -> int:
    # where all images of a class are gone, so is their disk
    return BROKE_OFF if isinstance(error, OSError | BrokenImageError) else FAILED


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code

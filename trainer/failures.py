"""Expected failures, in words for the user. Loads torch."""

from concurrent.futures import BrokenExecutor
from typing import Literal, NamedTuple

from data.catalog.manifest import DamagedManifestError
from data.load.backends import UnusableBackendError
from data.types import BrokenImageError, TooManyBrokenError
from trainer.exits import ABORTED, BAD_INPUT, FAILED, RunEndedError, code_of
from trainer.recipe.decode import InvalidConfigError
from trainer.runtime import lost_contact
from trainer.stopping import START_AGAIN, StopRequestedError

GO_ON = "once that is fixed, the same command goes on from here"


class Failure(NamedTuple):
    """Why something ended early."""

    text: str
    """A few lines; of bad input a problem each."""
    code: int
    """The exit code of a command that ends so."""
    said_by: Literal["each", "main", "none"] = "each"
    """As of `RunEndedError`."""


def failure(error: Exception) -> Failure | None:
    """What an error means to the user, or None for one that is not expected."""
    match error:
        case InvalidConfigError():
            return Failure(str(error), BAD_INPUT, "main")
        case StopRequestedError():
            return Failure(f"stopped by {error} before the first step; the same command starts again", START_AGAIN)
        case RunEndedError(code=code, said_by=by):
            return Failure(str(error), code, by)
        case BrokenImageError() | TooManyBrokenError():  # which one process meets alone
            # if all images of a class cannot be read, their disk is gone
            return Failure(str(error), ABORTED if isinstance(error, BrokenImageError) else FAILED)
        case UnusableBackendError() | DamagedManifestError():  # which all processes meet together
            return Failure(str(error), FAILED, "main")
        case OSError() | BrokenExecutor():
            reason, code = _broken_off(error)
            return Failure(f"{reason}; {GO_ON}", code, "main")
        case RuntimeError() if lost_contact(error):
            first = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
            why = "; ".join((first, *getattr(error, "__notes__", ())))  # which of them hang
            return Failure(f"lost contact with another process: {why}", ABORTED)
        case _:
            return None


def _broken_off(error: OSError | BrokenExecutor) -> tuple[str, int]:
    """What a disk, the network or a lack of memory has ended, and the exit code."""
    if isinstance(error, BrokenExecutor):
        return "a process that reads images was killed", ABORTED
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error), code_of(error)

"""Expected failures, in words for the user. Loads torch only where there is one."""

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Literal

from data.catalog.manifest import DamagedManifestError
from data.types import BrokenImageError, TooManyBrokenError
from trainer.exits import ABORTED, BAD_INPUT, FAILED, RunEndedError, code_of
from trainer.recipe.decode import InvalidConfigError
from trainer.stopping import START_AGAIN, StopRequestedError
from trainer.world import WorldError

GO_ON = "once that is fixed, the same command goes on from here"


class ProvenetError(Exception):
    """What a command would have ended with, in its words, which may name flags; of bad input one problem a line."""

    code: int
    """The command's exit code: 2 nothing was begun, 1 a person must act first, 70 and 75 the same call goes on."""

    def __init__(self, text: str, code: int = FAILED, said_by: Literal["each", "main", "none"] = "each") -> None:
        """`said_by`: as of `RunEndedError`. Only the text is needed where another process unpickles it."""
        super().__init__(text)
        self.code, self.said_by = code, said_by


@contextmanager
def raising() -> Iterator[None]:
    """Raise the failures that a command would print as `ProvenetError`."""
    try:
        yield
    except Exception as error:
        if (expected := failure(error)) is None:
            raise
        raise expected from (None if expected.code == BAD_INPUT else error)


def failure(error: Exception) -> ProvenetError | None:
    """What an error means to the user, or None for one that is not expected."""
    match error:
        case InvalidConfigError() | WorldError():
            return ProvenetError(str(error), BAD_INPUT, "main")
        case StopRequestedError():
            return ProvenetError(
                f"stopped by {error} before the first step; the same command starts again", START_AGAIN
            )
        case RunEndedError(code=code, said_by=by):
            return ProvenetError(str(error), code, by)
        case BrokenImageError() | TooManyBrokenError():  # which one process meets alone
            # if all images of a class cannot be read, their disk is gone
            return ProvenetError(str(error), ABORTED if isinstance(error, BrokenImageError) else FAILED)
        case OSError() | BrokenExecutor():
            reason, code = _broken_off(error)
            return ProvenetError(f"{reason}; {GO_ON}", code, "main")
        case _:
            return _of_torch(error)


def _broken_off(error: OSError | BrokenExecutor) -> tuple[str, int]:
    """What a disk, the network or a lack of memory has ended, and the exit code."""
    if isinstance(error, BrokenExecutor):
        return "a process that reads images was killed", ABORTED
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error), code_of(error)


def _of_torch(error: Exception) -> ProvenetError | None:
    from data.load.backends import UnusableBackendError
    from trainer.runtime import lost_contact

    if isinstance(error, UnusableBackendError | DamagedManifestError):  # which all processes meet together
        return ProvenetError(str(error), FAILED, "main")
    if not isinstance(error, RuntimeError) or not lost_contact(error):
        return None
    first = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
    why = "; ".join((first, *getattr(error, "__notes__", ())))  # which of them hang
    return ProvenetError(f"lost contact with another process: {why}", ABORTED)

"""The failures of a run that are told in a few lines, without a traceback."""

from data.load.backends import UnusableBackendError
from data.manifest import DamagedManifestError
from data.types import BrokenImageError, TooManyBrokenError
from trainer.images import UnusableDataError
from trainer.keep.holder import FencedError
from trainer.keep.keeper import SaveFailedError
from trainer.loop import DivergedError
from trainer.memory import MemoryShortError

# what one process meets alone, and must say itself
OWN = (BrokenImageError, TooManyBrokenError, MemoryShortError, FencedError, SaveFailedError)
# what all processes meet together, and rank 0 says
SHARED = (UnusableBackendError, UnusableDataError, DamagedManifestError, DivergedError, OSError)

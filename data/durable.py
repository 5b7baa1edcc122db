"""Files that outlast a power cut. Standard library only."""

import os
from typing import IO, Any


def flush(stream: IO[Any]) -> None:
    """Put what was written onto the disk; a file that is renamed before that may come back empty."""
    stream.flush()
    os.fsync(stream.fileno())

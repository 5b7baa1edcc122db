"""The result of one check of the machine, and how to fix what is wrong. Standard library only."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    state: Literal["good", "note", "bad"]
    """good: nothing to do. note: worth knowing, or could not be checked. bad: costs time or ends the run."""
    message: str
    fix: str = ""
    """What to do; empty where good."""

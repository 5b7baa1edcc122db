"""One thing that the doctor found, and what to do about it. Standard library only."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The answer of one check."""

    name: str
    """What was looked at, in a word or two."""
    state: Literal["good", "note", "bad"]
    """good: nothing to do. note: worth knowing, or could not be seen. bad: costs time or the run."""
    says: str
    """What was found, in one line."""
    mend: str = ""
    """What to do; empty where good."""


def good(name: str, says: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(name=name, state="good", says=says)


def note(name: str, says: str, mend: str = "") -> Finding:
    """A finding that is worth knowing."""
    return Finding(name=name, state="note", says=says, mend=mend)


def bad(name: str, says: str, mend: str) -> Finding:
    """A finding that costs time or the run."""
    return Finding(name=name, state="bad", says=says, mend=mend)


def size(count: float) -> str:
    """Bytes, as people say them: 64 MB, 1.5 GB, 2.0 TB."""
    for unit, name, digits in ((1e12, "TB", 1), (1e9, "GB", 1)):
        if count >= unit:
            return f"{count / unit:,.{digits}f} {name}"
    return f"{count / 1e6:,.0f} MB"

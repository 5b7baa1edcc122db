"""What may reach a terminal of text that came from files: nothing that moves the cursor. Standard library only."""

import os
import re
import sys
from collections.abc import Callable

# CSI sequences, such as colours; OSC and the like, with their end; all others
_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|\x1b(?:[ -/]*[0-Z\\^-~])?",
)
# the other control characters; what turns the direction of text round; halves of characters, as in names of files
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """One line of text: without escape sequences, and with a mark for any other control character but the tab."""
    return _CONTROL.sub("\ufffd", _ESCAPE.sub("", text)) if not (text.isascii() and text.isprintable()) else text


def in_one_line(text: str) -> str:
    """The same for text of several lines."""
    return clean(" ".join(text.split()))


def write(text: str) -> None:
    """Write to stdout, with marks for characters that its encoding lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def say(text: str) -> None:
    """A line for people on stderr, which is no part of the output."""
    sys.stderr.write(f"launch: {clean(text)}\n")
    sys.stderr.flush()


def until_reader_leaves(run: Callable[[], int]) -> int:
    """Run a command whose reader, such as `head`, may have seen enough before it ends: that is no failure."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # Python would complain of the rest at its end
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return 0

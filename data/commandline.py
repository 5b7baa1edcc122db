"""What a parser of commands leaves to wish for: refusals in our voice, an overview in lines. Loads tyro alone.

`models`, which knows no other room, has the same in models/commandline.py.
"""

import inspect
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from difflib import get_close_matches
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

BAD_INPUT = 2
QUIET_VARIABLE = "PROVENET_QUIET"  # set: no progress is shown, in this process and in those that it starts

_HELP = ("-h", "--help")
_MOST_LINES = 12
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = r"[─\- ]*$|Argument helptext:|Got errors:|- <class "
_COMMANDS = "Available subcommands: "
_WORDS = (  # those of each tyro in the pinned range, and ours
    (r"^Unrecognized options: (.*)", r"\1: unknown"),
    (r"^Expected one of \{(.*)\}\.$", r"COMMAND: missing; one of \1"),
    (r"^Missing from (.*):$", r"\1: missing"),
    (r"^Missing value for argument '(?:\(')?(.*?)(?:',\))?'\. Expected (\d+) values?\.", r"\1: wants \2 more"),
    (r"^invalid choice ('.*') for argument '(.*)'\. Expected one of \((.*?),?\)\.", r"\2: \1; expected one of \3"),
    (r"^Error parsing (.*?): ", r"\1: "),
    (r"invalid literal for int\(\) with base 10: ('.*')", r"\1 is no whole number"),
    (r"could not convert string to float: ('.*')", r"\1 is no number"),
    (r": no type matching (.*) could be instantiated from \['(.*)'\]\.", r": '\2'; expected \1"),
)


def union(kinds: Mapping[str, type], arguments: Sequence[str], defaults: Mapping[str, Any] | None = None) -> Any:
    """The type of all commands, as the parser takes it.

    Args:
        kinds: Each command by its name.
        arguments: What was typed. Where no command was, each gets a line; else its help is the whole docstring.
        defaults: Of some, the values of their flags.
    """
    is_overview = not arguments or arguments[0] in _HELP
    found: list[Any] = []
    for name, kind in kinds.items():
        default = {"default": defaults[name]} if defaults and name in defaults else {}
        line = (inspect.getdoc(kind) or "").partition("\n")[0] if is_overview else None
        found.append(Annotated[kind, tyro.conf.subcommand(name, description=line, **default)])
    return reduce(or_, found)


def hush(quiet: bool) -> None:
    """Show no progress from now on, if so asked."""
    if quiet:
        os.environ[QUIET_VARIABLE] = "1"


@contextmanager
def plain_refusals(arguments: Sequence[str]) -> Iterator[None]:
    """Let a parser that ends the program with code 2 say why as we do: in plain lines, without a frame."""
    if set(arguments) & {*_HELP, "--tyro-print-completion", "--tyro-write-completion"}:
        yield
        return
    said, columns, refused = io.StringIO(), os.environ.get("COLUMNS"), False
    os.environ["COLUMNS"] = "10000"  # a frame breaks lines anywhere
    try:
        with redirect_stderr(said):
            yield
    except SystemExit as end:
        refused = end.code == BAD_INPUT
        raise
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
        sys.stderr.write(plain(said.getvalue()) if refused else said.getvalue())


def plain(frame: str) -> str:
    """What a frame with a title says, as lines below our own head; nothing where nothing was said."""
    frame = _COLOURS.sub("", frame)
    if not frame.startswith(("╭", " ")):  # a frame of blanks, where the output takes no other
        return frame
    lines = [line[2:-1].rstrip() for line in frame.splitlines()[1:-1] if not re.match(_NOISE, line[2:-1])]
    for pattern, words in _WORDS:
        lines = [re.sub(pattern, words, line) for line in lines]
    if len(lines) > 1 and lines[1].startswith(_COMMANDS):
        close = get_close_matches(re.split(r"[,:]", lines[0])[0], lines[1].removeprefix(_COMMANDS).split(", "), 1)
        lines[0] += f"; did you mean {close[0]}?" if close else ""
    more = f"  and {len(lines) - _MOST_LINES} lines more\n" if len(lines) > _MOST_LINES else ""
    shown = "".join(f"  {line}\n" for line in lines[:_MOST_LINES])
    return f"cannot start; nothing was written\n{shown}{more}" if lines else ""

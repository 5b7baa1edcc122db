"""Parse a command line with tyro, and print tyro's errors in the form of our own. Loads no torch."""

import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro

from trainer.commands import ranges
from trainer.exits import BAD_INPUT
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError
from trainer.world import speaks

_IMPORT = (
    "Your own Python file with networks, policies, losses or optimizers, executed first; may be given several times: "
    "trainer/EXTENDING.md."
)
Imports = Annotated[
    tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="import", metavar="FILE", help=_IMPORT)
]
_HELP = ("-h", "--help")
_MOST_LINES = 12
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = r"[─\- ]*$|Argument helptext:|Got errors:|- <class "
_COMMANDS = "Available subcommands: "
_REWORDED = (  # messages of each tyro in the pinned range, and what we print instead
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
ELSEWHERE = {  # flags of timm's and torchvision's scripts that tyro finds nothing like, and what does their work here
    "--pretrained": "--init.weights timm/NAME or torchvision/NAME",
    **dict.fromkeys(("--finetune", "--initial-checkpoint"), "--init.weights FILE"),
    **dict.fromkeys(("--resume", "--start-epoch"), "the same command, which goes on from its last checkpoint"),
    **dict.fromkeys(("--batch-size", "--batch", "-b"), "--global-batch over all processes, and --micro-batch"),
    **dict.fromkeys(("--workers", "--num-workers", "-j"), "--threads"),
    **dict.fromkeys(("--amp", "--amp-dtype", "--native-amp"), "--precision bf16 or fp16"),
    **dict.fromkeys(("--data-dir", "--data-path"), "--data"),
    **dict.fromkeys(("--img-size", "--input-size"), "--input.train-size, --input.eval-resize and --input.eval-crop"),
    "--raw": "the setting entry, as raw",
    "--arch": "--model.name",
    "--opt": "the optimizer's name in a recipe's file",
    "--sched": "the schedule's name in a recipe's file",
    **dict.fromkeys(("--aa", "--auto-augment"), "--input.augment.policy"),
    "--reprob": "--input.augment.erasing",
    "--remode": "--input.augment.erasing-fill noise",
}


def parse(kind: type, words: Sequence[str], prog: str, values: Any = None) -> Any:
    """The command that was typed; ends the process if it cannot be parsed.

    Args:
        kind: Its class, a dataclass. If it has a method `behind`, that gets the words after --.
        words: What was typed after the verb.
        prog: Program and verb, for messages.
        values: The defaults of its flags. None: those of the class.

    Raises:
        InvalidConfigError: A flag's value is empty, as by a variable that the shell does not have.
    """
    has_more = hasattr(kind, "behind") and "--" in words
    ours = list(words[: words.index("--")] if has_more else words)  # tyro does not distinguish num_procs and num-procs
    pairs = [*pairwise(ours), *(word.split("=", 1) for word in ours if "=" in word)]
    if empty := [flag for flag, value in pairs if flag.startswith("--") and not value]:
        raise InvalidConfigError(f"{flag}: empty; leave it out or give a value" for flag in empty)
    default = {} if values is None else {"default": values}
    with plain_refusals(ours):
        command = tyro.cli(
            kind,
            args=ours,
            prog=prog,
            config=(tyro.conf.AvoidSubcommands,),
            console_outputs=speaks(),
            registry=ranges.registry(),
            **default,
        )
    if isinstance(settings := getattr(command, "settings", None), Recipe):
        flags = [word.removeprefix("--").partition("=")[0].replace("-", "_") for word in ours if word.startswith("--")]
        command = replace(command, settings=recipes.keeping(settings, words[0], flags))
    return command.behind(tuple(words[len(ours) + 1 :])) if has_more else command


def named_recipe(words: Sequence[str], verb: str) -> Recipe:
    """The recipe that follows the verb; the default recipe if nothing follows but `--help`.

    Raises:
        InvalidConfigError: The recipe cannot be read, or a flag precedes it.
    """
    if list(words) in ([], ["-h"], ["--help"]):
        return Recipe()
    if words[0].startswith("-"):  # the recipe decides which flags may follow
        raise InvalidConfigError([f"RECIPE: comes first, before {words[0]}: {verb} RECIPE {words[0]} ..."])
    return recipes.load(words[0])


@contextmanager
def plain_refusals(arguments: Sequence[str]) -> Iterator[None]:
    """Print the errors of tyro, which ends the process with code 2, as plain lines instead of its framed panel.

    tyro 1.0 has no hook for them: it prints the panel itself.
    """
    if set(arguments) & {*_HELP, "--tyro-print-completion", "--tyro-write-completion"}:
        yield
        return
    panel, columns, refused = io.StringIO(), os.environ.get("COLUMNS"), False
    os.environ["COLUMNS"] = "10000"  # the panel breaks lines anywhere
    try:
        with redirect_stderr(panel):
            yield
    except SystemExit as end:
        refused = end.code == BAD_INPUT
        raise
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
        sys.stderr.write(plain(panel.getvalue()) if refused else panel.getvalue())


def plain(panel: str) -> str:
    """The text of tyro's panel as lines below our own first line; empty for an empty panel."""
    panel = _COLOURS.sub("", panel)
    if not panel.startswith(("╭", " ")):  # framed by blanks if the output has no other characters
        return panel
    lines = [line[2:-1].rstrip() for line in panel.splitlines()[1:-1] if not re.match(_NOISE, line[2:-1])]
    for pattern, words in _REWORDED:
        lines = [re.sub(pattern, words, line) for line in lines]
    if len(lines) > 1 and lines[1].startswith(_COMMANDS):
        close = get_close_matches(re.split(r"[,:]", lines[0])[0], lines[1].removeprefix(_COMMANDS).split(", "), 1)
        lines[0] += f"; did you mean {close[0]}?" if close else ""
    if lines and lines[0].endswith(": unknown") and re.search(r"provenet (train|submit) ", lines[-1]):
        typed = lines[0].removesuffix(": unknown").split(", ")
        lines[1:1] = [f"{word}: here it is {ELSEWHERE[word]}" for word in typed if word in ELSEWHERE]
    more = f"  and {len(lines) - _MOST_LINES} lines more\n" if len(lines) > _MOST_LINES else ""
    shown = "".join(f"  {line}\n" for line in lines[:_MOST_LINES])
    return f"cannot start; nothing was written\n{shown}{more}" if lines else ""

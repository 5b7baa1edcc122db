"""The verbs of `provenet` that train, measure and prepare, by name; imports the module of the one that was typed."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from errno import EACCES, ENAMETOOLONG
from importlib import import_module
from itertools import takewhile
from typing import Any, NamedTuple

from trainer.exits import INTERRUPTED, refuse
from trainer.recipe.decode import InvalidConfigError
from trainer.terminal import until_reader_leaves
from trainer.world import WorldError, from_environment, speaks

HELP = ("-h", "--help")


class Verb(NamedTuple):
    """The class of a verb, which is imported when the verb is typed."""

    module: str
    kind: str
    """A dataclass: its fields are the flags, and `run` returns the exit code."""
    default: str = ""
    """Name of a function of the module that returns a command with the flags' defaults for the words after the verb."""

    def load(self) -> type:
        return getattr(import_module(self.module), self.kind)

    def values(self, words: Sequence[str]) -> Any:
        """The command with the flags' defaults; None: those of the class.

        Raises:
            InvalidConfigError: They cannot be read.
        """
        return getattr(import_module(self.module), self.default)(words) if self.default else None


VERBS: Mapping[str, Verb] = {
    "train": Verb("trainer.commands.train", "Train", "default"),
    "evaluate": Verb("trainer.commands.evaluate", "Evaluate"),
    "predict": Verb("trainer.commands.predict", "Predict"),
    "report": Verb("trainer.commands.report", "Report"),
    "checkpoints": Verb("trainer.commands.checkpoints", "Checkpoints"),
    "doctor": Verb("trainer.commands.doctor", "Doctor", "default"),
    "prepare": Verb("trainer.commands.prepare", "PrepareCommand"),
    "verify": Verb("trainer.commands.verify", "VerifyCommand"),
    "pack": Verb("trainer.commands.pack", "PackCommand"),
    "synth": Verb("trainer.commands.synth", "SynthCommand"),
    "models list": Verb("trainer.commands.networks", "List"),
    "models summary": Verb("trainer.commands.networks", "Summary"),
    "models validate": Verb("trainer.commands.networks", "Validate"),
    "models export": Verb("trainer.commands.networks", "Export"),
}
_ON_ALL_RANKS = ("train", "evaluate", "predict", "doctor")  # a launcher may start several processes of these


def main(arguments: Sequence[str] | None = None, verbs: Mapping[str, Verb] = VERBS, prog: str = "provenet") -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad input and nothing was done, 70 aborted, 75 stopped cleanly,
        130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return until_reader_leaves(lambda: _main(words, verbs, prog))


def _main(words: list[str], verbs: Mapping[str, Verb], prog: str) -> int:
    try:
        before = list(takewhile(lambda word: word not in HELP, words))
        if len(before) < len(words) and (overview := _overview(before, verbs, prog)):
            sys.stdout.write(overview if speaks() else "")
            return 0
        return _run(words, verbs, prog)
    except (InvalidConfigError, WorldError) as error:
        return refuse(str(error).splitlines())
    except OSError as error:  # of a name that was typed: Path.exists() raises these two
        if error.errno not in (ENAMETOOLONG, EACCES):
            raise
        return refuse([f"{str(error.filename)[:200]}: {error.strerror}"])
    except KeyboardInterrupt:
        return INTERRUPTED


def parse(words: Sequence[str], verbs: Mapping[str, Verb] = VERBS, prog: str = "provenet") -> Any:
    """The command that was typed.

    Raises:
        InvalidConfigError: There is no such verb, or the recipe that it names cannot be read.
    """
    from trainer.commands import parsing  # tyro takes longer to load than an overview to print

    name, rest = _typed(words, verbs)
    return parsing.parse(verbs[name].load(), rest, f"{prog} {name}", verbs[name].values(rest))


def _run(words: list[str], verbs: Mapping[str, Verb], prog: str) -> int:
    command = _with_code(parse(words, verbs, prog))
    from trainer.terminal import hush

    hush(getattr(getattr(command, "site", command), "quiet", False))
    return command.run(from_environment()) if words[0] in _ON_ALL_RANKS else command.run()


def _with_code(command: Any) -> Any:
    """The command once its files of `--import`, or those that its recipe names, are executed, with their hashes."""
    from trainer import imports

    if not hasattr(command, "imports"):
        return command
    recipe, output = getattr(command, "settings", imports.Recipe()), getattr(command, "site", command)
    recipe = imports.resolved(recipe, command.imports, getattr(output, "output", None))
    return replace(command, settings=recipe) if hasattr(command, "settings") else command


def _typed(words: Sequence[str], verbs: Mapping[str, Verb]) -> tuple[str, Sequence[str]]:
    """The verb, of one word or two, and the words after it.

    Raises:
        InvalidConfigError: There is no such verb.
    """
    for count in (2, 1):
        if (verb := " ".join(words[:count])) in verbs:
            return verb, words[count:]
    group = _group(words, verbs)
    names = list(dict.fromkeys(verb.removeprefix(group).split()[0] for verb in verbs if verb.startswith(group)))
    listed, word = ", ".join(names), words[len(group.split()) :][:1]
    if not word:
        raise InvalidConfigError([f"COMMAND: missing; one of {listed}"])
    close = get_close_matches(word[0], names, 1)
    hint = f"; did you mean {group}{close[0]}?" if close else ""
    raise InvalidConfigError([f"{word[0]}: unknown{hint}", f"commands: {listed}"])


def _group(words: Sequence[str], verbs: Mapping[str, Verb]) -> str:
    """The first word and a blank, if verbs of two words begin with it."""
    first = f"{words[0]} " if words else ""
    return first if any(verb.startswith(first) for verb in verbs) else ""


def _overview(words: Sequence[str], verbs: Mapping[str, Verb], prog: str) -> str:
    """A line for each verb, or for each of a group; empty if the words are neither nothing nor a group."""
    group = _group(words, verbs)
    if len(words) != len(group.split()):
        return ""
    shown = {name: inspect.getdoc(verb.load()) or "" for name, verb in verbs.items() if name.startswith(group)}
    width = max(map(len, shown))
    lines = "".join(f"  {name:{width}}  {text.splitlines()[0]}\n" for name, text in shown.items())
    return f"usage: {prog} {group}COMMAND ...\n\n{lines}\n{prog} COMMAND --help shows a command's flags.\n"

"""`provenet completion`: what bash offers at TAB, by tyro, with the names of recipes and networks. Loads no torch."""

import ast
import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, make_dataclass
from functools import reduce
from typing import Annotated, Any

import tyro

from launch.cli import VERBS
from models import registry
from trainer.commands.cli import Verb
from trainer.recipe import recipes

_BY_RECIPE = ("train", "reproduce", "doctor", "submit", "plan")  # commands whose first word is a recipe
_BY_NETWORK = ("list", "summary", "validate", "export")
_SPEC = "COMPLETION_SPEC = "  # what tyro prints holds it, in a line of its own
_SCRIPT = """
_provenet() {
  _tyro_provenet
  [[ -n ${COMPREPLY[*]} ]] || COMPREPLY=()  # where nothing fits, the shell offers files
}
complete -o default -o bashdefault -F _provenet provenet
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Print what lets bash complete commands, flags, choices, recipes and networks at TAB.

    This line in ~/.bashrc, with the environment active: . <(provenet completion).

    Example: provenet completion
    """

    def run(self) -> int:
        """Print the script."""
        printed = io.StringIO()
        with redirect_stdout(printed), suppress(SystemExit):
            arguments = ["--tyro-print-completion", "bash"]
            tyro.cli(_kind(VERBS), args=arguments, prog="provenet", config=(tyro.conf.AvoidSubcommands,))
        sys.stdout.write(_with_names(printed.getvalue()) + _SCRIPT)
        return 0


def _kind(verbs: Mapping[str, Verb]) -> Any:
    """One type for all verbs, as tyro takes it; those of two words become commands of a command."""
    kinds: dict[str, Any] = {}
    for name, verb in verbs.items():
        first, _, second = name.partition(" ")
        if second and first not in kinds:
            inner = {key.partition(" ")[2]: verbs[key] for key in verbs if key.startswith(f"{first} ")}
            wrapped = Annotated[_kind(inner), tyro.conf.arg(name=""), tyro.conf.OmitSubcommandPrefixes]
            kinds[first] = Annotated[make_dataclass(first, [("verb", wrapped)]), tyro.conf.subcommand(first)]
        elif not second:
            values = {"default": verb.values([])} if verb.default else {}
            kinds[name] = Annotated[verb.load(), tyro.conf.subcommand(name, **values)]
    return reduce(lambda left, right: left | right, kinds.values())


def _with_names(script: str) -> str:
    before, _, rest = script.partition(_SPEC)
    line, _, after = rest.partition("\n")
    spec = ast.literal_eval(line.replace("'type': 'path'", "'type': 'value'"))  # the shell knows folders from files
    for verb, command in (spec["subcommands"] | spec["subcommands"]["models"]["subcommands"]).items():
        names = recipes.names() if verb in _BY_RECIPE else registry.names() if verb in _BY_NETWORK else []
        command["options"].append({"flags": list(names), "description": "", "type": "flag"})
    return f"{before}{_SPEC}{spec}\n{after}"

"""`provenet`, one program for all verbs; imports the module of the one that was typed."""

import ast
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, make_dataclass
from functools import reduce
from typing import Annotated, Any, NoReturn

from trainer.commands import cli
from trainer.commands.cli import Verb
from trainer.exits import FAILED, refuse, say, trace_crashes
from trainer.streams import protect_for

VERBS = {
    **cli.VERBS,
    "submit": Verb("launch.commands.submit", "Submit", "submit_default"),
    "status": Verb("launch.commands.status", "Status"),
    "logs": Verb("launch.commands.logs", "Logs"),
    "cancel": Verb("launch.commands.cancel", "Cancel"),
    "resume": Verb("launch.commands.submit", "Resume", "resume_default"),
    "array": Verb("launch.commands.array", "Array", "default"),
    "plan": Verb("launch.commands.plan", "Plan", "default"),
    "reproduce": Verb("launch.commands.reproduce", "Reproduce"),
    "run": Verb("launch.commands.run", "Run"),
    "completion": Verb("launch.cli", "Completion"),
}
_TRAINER = {name.split()[0] for name in cli.VERBS}
_ACTING = ("submit", "resume", "array", "reproduce", "cancel")  # whether or not somebody reads what they print

_BY_RECIPE = ("train", "reproduce", "doctor", "submit", "plan")  # verbs whose first argument is a recipe
_BY_NETWORK = ("list", "summary", "validate", "export")
_SPEC = "COMPLETION_SPEC = "  # begins the line of tyro's script that lists commands and flags
_SCRIPT = """
_provenet() {
  _tyro_provenet
  [[ -n ${COMPREPLY[*]} ]] || COMPREPLY=()  # where nothing fits, the shell offers files
}
complete -o default -o bashdefault -F _provenet provenet
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 refused by Slurm or failed, 2 bad input and nothing was done, 130 interrupted; of `run`,
        that of its command; of the verbs in `trainer.commands`, see there.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _TRAINER:
        return cli.main(words)
    from launch.submission import DamagedRecordError

    try:
        return cli.main(words, VERBS)
    except DamagedRecordError as error:
        return refuse([str(error)])
    except OSError as error:
        return say(f"failed: {error}", FAILED)


def console() -> NoReturn:
    """Run the command that was typed."""
    if sys.argv[1:] and sys.argv[1] in _TRAINER:
        from trainer.__main__ import start

        start()
    trace_crashes()
    protect_for(_ACTING)
    sys.exit(main())


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Print a script by which bash completes commands, flags, choices, recipes and networks at TAB.

    This line in ~/.bashrc, with the environment active: . <(provenet completion).

    Example: provenet completion
    """

    def run(self) -> int:
        """Print tyro's own script with the names of recipes and networks added."""
        import tyro

        printed, arguments = io.StringIO(), ["--tyro-print-completion", "bash"]
        with redirect_stdout(printed), suppress(SystemExit):
            tyro.cli(_union(VERBS), args=arguments, prog="provenet", config=(tyro.conf.AvoidSubcommands,))
        before, _, rest = printed.getvalue().partition(_SPEC)
        spec, _, after = rest.partition("\n")
        sys.stdout.write(f"{before}{_SPEC}{_with_names(spec)}\n{after}{_SCRIPT}")
        return 0


def _union(verbs: Mapping[str, Verb]) -> Any:
    """The verbs as one type for tyro; those of two words become commands of a command."""
    import tyro

    kinds: dict[str, Any] = {}
    for name, verb in verbs.items():
        first, _, second = name.partition(" ")
        if second and first not in kinds:
            inner = {key.partition(" ")[2]: verbs[key] for key in verbs if key.startswith(f"{first} ")}
            wrapped = Annotated[_union(inner), tyro.conf.arg(name=""), tyro.conf.OmitSubcommandPrefixes]
            kinds[first] = Annotated[make_dataclass(first, [("verb", wrapped)]), tyro.conf.subcommand(first)]
        elif not second:
            values = {"default": verb.values([])} if verb.default else {}
            kinds[name] = Annotated[verb.load(), tyro.conf.subcommand(name, **values)]
    return reduce(lambda left, right: left | right, kinds.values())


def _with_names(text: str) -> str:
    from models import registry
    from trainer.recipe import recipes

    spec = ast.literal_eval(text.replace("'type': 'path'", "'type': 'value'"))  # for paths the shell's own is better
    for verb, command in (spec["subcommands"] | spec["subcommands"]["models"]["subcommands"]).items():
        names = recipes.names() if verb in _BY_RECIPE else registry.names() if verb in _BY_NETWORK else []
        command["options"].append({"flags": list(names), "description": "", "type": "flag"})
    return str(spec)

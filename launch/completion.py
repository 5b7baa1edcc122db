"""`python -m launch completion`: what a shell offers at TAB, for all four programs. Loads no torch."""

import ast
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

import tyro

from models import registry
from trainer import recipe

Spec = dict[str, Any]

_SPEC = "COMPLETION_SPEC = "  # what tyro prints holds it, in a line of its own
_BY_RECIPE = ("train", "reproduce", "doctor", "submit", "plan", "drill")  # commands whose first word is a recipe
_BY_NETWORK = ("list", "summary", "validate", "export")

# bash, and zsh with its bashcompinit. What precedes -m may be python, torchrun or accelerate launch; of two programs in
# a line, as in `launch run -- torchrun -m trainer`, the last counts. No words: the shell offers files.
_SCRIPT = """\
if [[ -n $ZSH_VERSION ]]; then
  autoload -U compinit bashcompinit
  type compdef > /dev/null || compinit -u
  bashcompinit
fi
_provenet() {{
  local i at=0 line current=${{COMP_WORDS[COMP_CWORD]}} words=""
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${{COMP_WORDS[i]}} == -m ]] && at=$((i + 1))
  done
  ((at)) || return 0
  line="${{COMP_WORDS[at]}} ${{COMP_WORDS[at + 1]}}"
  if ((COMP_CWORD == at)); then
    words="{programs}"
  elif ((COMP_CWORD == at + 1)); then
    case ${{COMP_WORDS[at]}} in
{commands}
    esac
  elif [[ $current == -* ]]; then
    case $line in
{flags}
    esac
  else
    case "$line ${{COMP_WORDS[COMP_CWORD - 1]}}" in
{values}
    esac
  fi
  [[ -n $words ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
  return 0
}}
complete -o default -o bashdefault -F _provenet python python3 torchrun accelerate
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Print what lets bash or zsh complete commands, flags, choices, recipes and networks at TAB.

    For bash and zsh, this line in ~/.bashrc or ~/.zshrc, with the environment at hand:
    . <(python -m launch completion).

    Example: python -m launch completion
    """

    def run(self) -> int:
        """Print the script."""
        sys.stdout.write(script(specs()))
        return 0


def script(programs: Mapping[str, Spec]) -> str:
    """The completion of these programs, by their names."""
    lines = {
        f"{program} {name}": command for program, spec in programs.items() for name, command in _commands(spec).items()
    }
    values = {f"{line} {line.split()[1]}": words for line in lines if (words := _first_words(line))}
    values |= {f"{line} {flag}": words for line, command in lines.items() for flag, words in _choices(command)}
    return _SCRIPT.format(
        programs=" ".join(programs),
        commands=_cases({program: " ".join(_commands(spec)) for program, spec in programs.items()}),
        flags=_cases({line: " ".join(_flags(command)) for line, command in lines.items()}),
        values=_cases(values),
    )


def specs() -> dict[str, Spec]:
    """All four programs, as the parser's own completion describes them: flags with choices, and subcommands."""
    from data import cli as data
    from launch import cli as launch  # which imports this file
    from models import cli as models
    from trainer import cli as trainer

    kinds: dict[str, Any] = {
        "trainer": trainer.commands([]),
        "launch": launch.commands([]),
        "data": data.commands([]),
        "models": models.commands([]),
    }
    return {name: _spec(kind) for name, kind in kinds.items()}


def _spec(kind: Any) -> Spec:
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        tyro.cli(kind, args=["--tyro-print-completion", "bash"], prog="provenet", config=(tyro.conf.AvoidSubcommands,))
    (line,) = [line for line in printed.getvalue().splitlines() if line.startswith(_SPEC)]
    return ast.literal_eval(line.removeprefix(_SPEC))


def _commands(spec: Spec) -> dict[str, Spec]:
    return spec["subcommands"]


def _flags(spec: Spec) -> list[str]:
    own = [flag for option in spec["options"] for flag in option["flags"] if flag.startswith("--")]
    deeper = [flag for below in _commands(spec).values() for flag in _flags(below)]
    return list(dict.fromkeys([*own, *deeper]))


def _choices(spec: Spec) -> Iterator[tuple[str, str]]:
    for option in spec["options"]:
        if choices := option.get("choices"):
            yield from ((flag, " ".join(sorted(choices))) for flag in option["flags"])


def _first_words(line: str) -> str:
    program, command = line.split()
    if line == "data prepare":
        return "imagenet imagenette imagewoof cifar10 cifar100"
    if program == "models" and command in _BY_NETWORK:
        return " ".join(registry.names())
    return " ".join(recipe.names()) if program in ("trainer", "launch") and command in _BY_RECIPE else ""


def _cases(words: Mapping[str, str]) -> str:
    return "\n".join(f'      "{pattern}") words="{found}" ;;' for pattern, found in words.items())

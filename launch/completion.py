"""What bash offers at TAB: tyro's completion of each program, with names of recipes and networks. Loads no torch."""

import ast
import io
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from typing import Any

import tyro

from models import registry
from trainer import recipe

_BY_RECIPE = ("train", "reproduce", "doctor", "submit", "plan")  # commands whose first word is a recipe
_BY_NETWORK = ("list", "summary", "validate", "export")
_SPEC = "COMPLETION_SPEC = "  # what tyro prints holds it, in a line of its own

# What precedes -m may be python, torchrun or accelerate launch; of two programs in a line, as in
# `launch run -- torchrun -m trainer`, the last counts. Where nothing fits, the shell offers files.
_SCRIPT = """\
_provenet() {{
  local i at=0
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do [[ ${{COMP_WORDS[i]}} == -m ]] && at=$((i + 1)); done
  if ((at == COMP_CWORD)); then
    COMPREPLY=($(compgen -W "{programs}" -- "${{COMP_WORDS[at]}}"))
  elif ((at)) && declare -F "{prefix}${{COMP_WORDS[at]}}" > /dev/null; then
    local function="{prefix}${{COMP_WORDS[at]}}" COMP_CWORD=$((COMP_CWORD - at)) COMP_WORDS=("${{COMP_WORDS[@]:at}}")
    "$function"
    [[ -n ${{COMPREPLY[*]}} ]] || COMPREPLY=()
  fi
}}
complete -o default -o bashdefault -F _provenet python python3 torchrun accelerate
"""


def script(programs: Mapping[str, Any]) -> str:
    """The completion of `python -m PROGRAM`, for programs by their names, each with the type of its commands."""
    functions = "".join(_completed(name, kind) for name, kind in programs.items())
    return functions + _SCRIPT.format(programs=" ".join(programs), prefix="_tyro_provenet_")


def _completed(name: str, kind: Any) -> str:
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        arguments = ["--tyro-print-completion", "bash"]
        tyro.cli(kind, args=arguments, prog=f"provenet_{name}", config=(tyro.conf.AvoidSubcommands,))
    before, _, rest = printed.getvalue().partition(_SPEC)
    line, _, after = rest.partition("\n")
    spec = ast.literal_eval(line.replace("'type': 'path'", "'type': 'value'"))  # the shell knows folders from files
    for verb, command in spec["subcommands"].items():
        names = recipe.names() if verb in _BY_RECIPE else registry.names() if verb in _BY_NETWORK else []
        command["options"].append({"flags": list(names), "description": "", "type": "flag"})
    return f"{before}{_SPEC}{spec}\n{after}"

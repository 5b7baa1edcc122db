"""`python -m launch`: the commands, their flags and their errors. Loads no torch, and submitit only to submit."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from data.commandline import plain_refusals, union
from launch import run
from launch.cancel import Cancel
from launch.commands.array import Array
from launch.completion import script
from launch.folder import DamagedRecordError
from launch.logs import Logs
from launch.plan.command import Plan
from launch.site import ClusterConfig
from launch.status import Status
from launch.submit import Resume, Submit, stored
from trainer.cli import named_recipe
from trainer.config import SiteConfig
from trainer.decode import InvalidConfigError, range_problems
from trainer.exits import FAILED, INTERRUPTED, refuse

_LAST = tyro.conf.arg(metavar="-- COMMAND", help_behavior_hint="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Run a launcher on this machine: its processes get time to save at a stop, and their exit code comes through.

    TERM, INT (Ctrl-C), USR2 and HUP are passed on. Without an NVIDIA GPU, also sets what makes a CPU fast. A variable
    that is set already is left as it is.

    Example: python -m launch run --grace-s 600 -- torchrun --standalone --nproc-per-node 8 -m trainer train
    resnet50 --data /imagenet --output runs/r50
    """

    command: Annotated[tuple[str, ...], tyro.conf.Positional, _LAST] = ()
    """The launcher and its arguments: accelerate launch, torchrun, srun, or anything else."""
    grace_s: int = field(default=300, metadata={"min": 1, "max": 86_400})
    """Seconds from a stop signal until what still runs is killed: 1 to 86,400."""

    def run(self) -> int:
        """Check the flags, then run the command."""
        problems = range_problems(self, flags=True)
        if not self.command:
            problems.append("COMMAND: missing; it comes last, after --: run -- torchrun ...")
        return refuse(problems) if problems else run.run(self.command, self.grace_s).code


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Print what lets bash complete commands, flags, choices, recipes and networks at TAB.

    This line in ~/.bashrc, with the environment at hand: . <(python -m launch completion).

    Example: python -m launch completion
    """

    def run(self) -> int:
        """Print the script, for all four programs."""
        from data import cli as data
        from models import cli as models
        from trainer import cli as trainer

        programs = {"trainer": trainer.commands, "launch": commands, "data": data.commands, "models": models.commands}
        sys.stdout.write(script({name: kinds([]) for name, kinds in programs.items()}))
        return 0


Command = Submit | Array | Status | Logs | Cancel | Resume | Plan | Run | Completion


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 refused by Slurm or failed, 2 bad input and nothing was done, 130 interrupted; of `run`,
        the trainer's own.
    """
    try:
        command = parse(sys.argv[1:] if arguments is None else arguments)
        return command.run()
    except InvalidConfigError as error:
        return refuse(error.problems)
    except DamagedRecordError as error:
        return refuse([str(error)])
    except BrokenPipeError:  # the reader of --help has seen enough
        return 0
    except OSError as error:
        sys.stderr.write(f"failed: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def parse(arguments: list[str]) -> Command:
    """The command, with the values of the recipe, or of the earlier submission, as the defaults of its flags.

    Raises:
        InvalidConfigError: The recipe or the submission cannot be read.
    """
    end = arguments.index("--") if arguments[:1] == ["run"] and "--" in arguments else len(arguments)
    words = arguments[:end]  # what follows is the command's: tyro takes num_procs and num-procs for the same
    with plain_refusals(words):
        command: Command = tyro.cli(
            commands(arguments), args=words, prog="python -m launch", config=(tyro.conf.AvoidSubcommands,)
        )
    return replace(command, command=tuple(arguments[end + 1 :])) if isinstance(command, Run) else command


def commands(arguments: list[str]) -> Any:
    """The type of all commands, as the parser takes it.

    Raises:
        InvalidConfigError: The recipe or the submission cannot be read.
    """
    nowhere = SiteConfig(data=tyro.MISSING, output=tyro.MISSING)
    verb = arguments[0] if arguments[:1] in (["submit"], ["plan"]) else "submit"
    recipe = named_recipe(arguments, verb)
    cluster, site = _stored(arguments) or (ClusterConfig(), nowhere)
    kinds: tuple[type, ...] = (Submit, Resume, Array, Status, Logs, Cancel, Plan, Run, Completion)
    defaults = {
        "submit": Submit(recipe=tyro.MISSING, cluster=ClusterConfig(), site=nowhere, settings=recipe),
        "resume": Resume(run_directory=tyro.MISSING, cluster=cluster, site=site),
        "array": Array(sweep=tyro.MISSING, cluster=ClusterConfig(), site=nowhere),
        "plan": Plan(recipe=tyro.MISSING, settings=recipe),
    }
    return union({kind.__name__.lower(): kind for kind in kinds}, arguments, defaults)


def _stored(arguments: list[str]) -> tuple[ClusterConfig, SiteConfig] | None:
    if arguments[:1] != ["resume"] or arguments[1:] in ([], ["-h"], ["--help"]):
        return None
    if arguments[1].startswith("-"):  # the flags that follow are those of the run, so it has to be known first
        raise InvalidConfigError([f"RUN: comes first, before {arguments[1]}: resume RUN {arguments[1]} ..."])
    return stored(Path(arguments[1]))

"""`python -m trainer`: the commands, their flags and their errors. Loads torch only for a run that can start."""

import sys
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro

from data.commandline import hush, plain_refusals, union
from trainer import network, preflight, recipe, smoke
from trainer.commands.checkpoints import Checkpoints
from trainer.config import Recipe, SiteConfig
from trainer.cpu import rest_at_barriers
from trainer.decode import InvalidConfigError
from trainer.doctor.command import Doctor, DoctorSite
from trainer.evaluation.command import Evaluate
from trainer.exits import INTERRUPTED, begun, refuse
from trainer.preempt import StopFlag
from trainer.record.command import Report
from trainer.record.reproduce import Reproduce
from trainer.rundir import RunDirectory
from trainer.world import World, WorldError, from_environment, speaks


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Train a recipe, evaluate it after each epoch, and write checkpoints, metrics and a report.

    RECIPE is the name of a recipe or the path of a YAML file, and comes first. The fields of the recipe are flags, all
    but the kinds of its optimizer and schedule; the values shown are those of the recipe. A run directory that holds
    this recipe's run is continued.

    Start it with `accelerate launch -m trainer train ...`, `torchrun -m trainer train ...` or `srun python -m trainer
    train ...`, or, for one process, `python -m trainer train ...`.

    Example: python -m trainer train resnet50 --data /imagenet --output runs/r50
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    site: tyro.conf.OmitArgPrefixes[SiteConfig]
    """Where it runs."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""


Command = Train | Evaluate | Report | Reproduce | Checkpoints | Doctor


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad input and nothing was done, 70 broke off, 75 stopped in good
        order, 130 interrupted.
    """
    try:
        command = parse(sys.argv[1:] if arguments is None else arguments)
        hush(command.site.quiet if isinstance(command, Train | Doctor) else command.quiet)
        match command:
            case Train():
                return train(command, from_environment())
            case Report() | Checkpoints() | Reproduce():
                return command.run()
            case Evaluate() | Doctor():
                return command.run(from_environment())
    except (InvalidConfigError, WorldError) as error:
        return refuse(str(error).splitlines())
    except BrokenPipeError:  # the reader of --help has seen enough
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was lost\n")
        return INTERRUPTED


def parse(arguments: list[str]) -> Command:
    """The command, with the recipe's values as the defaults of its flags.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    words, rest = _split(arguments)
    with plain_refusals(words):
        command: Command = tyro.cli(
            commands(arguments),
            args=words,
            prog="python -m trainer",
            config=(tyro.conf.AvoidSubcommands,),
            console_outputs=speaks(),
        )
    return command.behind(rest) if isinstance(command, Reproduce) else command


def commands(arguments: list[str]) -> Any:
    """The type of all commands, as the parser takes it.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    site = SiteConfig(data=tyro.MISSING, output=tyro.MISSING)
    default = Train(recipe=tyro.MISSING, settings=named_recipe(arguments, "train"), site=site)
    looked_at = Doctor(recipe=tyro.MISSING, settings=named_recipe(arguments, "doctor"), site=DoctorSite())
    kinds: tuple[type, ...] = (Train, Evaluate, Report, Reproduce, Checkpoints, Doctor)
    return union({kind.__name__.lower(): kind for kind in kinds}, arguments, {"train": default, "doctor": looked_at})


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is for this program, and what follows -- for another."""
    if arguments[:1] != ["reproduce"] or "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def named_recipe(arguments: list[str], verb: str) -> Recipe:
    """The recipe that follows the verb, or the defaults where nothing does or only `--help`.

    Raises:
        InvalidConfigError: The recipe cannot be read, or something else comes before it.
    """
    if arguments[:1] != [verb] or arguments[1:] in ([], ["-h"], ["--help"]):
        return Recipe()
    if arguments[1].startswith("-"):  # the flags that follow are those of the recipe, so it has to be known first
        raise InvalidConfigError([f"RECIPE: comes first, before {arguments[1]}: {verb} RECIPE {arguments[1]} ..."])
    return recipe.load(arguments[1])


def train(command: Train, world: World) -> int:
    """Train, unless the run cannot start or is finished."""
    settings = smoke.tried(command.settings, command.site)
    command = replace(command, settings=preflight.adopted(settings, command.site))
    problems = [*network.problems(world), *preflight.problems(command.settings, command.site, world)]
    if problems:
        return refuse(problems, world)
    run = RunDirectory(command.site.output)
    if run.finished():
        sys.stdout.write(f"nothing to do, this run is {run.guide()}" if world.is_main else "")
        return 0
    rest_at_barriers()
    stop = StopFlag()
    stop.install()
    begun()  # before torch is loaded and the others are met: what ends a process there is no failure of the run
    return _train(command, world, stop)


def _train(command: Train, world: World, stop: StopFlag) -> int:
    from trainer.failures import told
    from trainer.train import train

    settings, site = command.settings, command.site
    if problems := preflight.machine_problems(settings, site, world) or _make_folder(site, world):
        return refuse(problems, world)
    try:
        return train(settings, site, world, stop)
    except Exception as error:
        if (code := told(error, world)) is None:
            raise
        return code


def _make_folder(site: SiteConfig, world: World) -> list[str]:
    """Make the run directory (rank 0 only); why it cannot be made."""
    try:
        if world.is_main:
            RunDirectory(site.output).make()
    except OSError as error:
        return [f"--output: {error.filename}: {error.strerror}"]
    return []

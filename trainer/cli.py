"""`python -m trainer`: the commands, their flags and their errors. Loads torch only for a run that can start."""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from models import registry
from models.config import ModelConfig
from trainer import preflight, recipe
from trainer.config import BenchConfig, Recipe, SiteConfig
from trainer.decode import InvalidConfigError, range_problems
from trainer.preempt import START_AGAIN, StopFlag, StopRequestedError
from trainer.rundir import RunDirectory
from trainer.world import World, WorldError, from_environment, speaks

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells say


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Train a recipe, evaluate it after each epoch, and write checkpoints, metrics and a report to the run directory.

    RECIPE is the name of a recipe or the path of a YAML file, and comes first. The fields of the recipe are flags, all
    but the kind of its schedule; the values shown are those of the recipe. A run directory that holds this recipe's
    run is continued.

    Start it with `accelerate launch -m trainer train ...`, `torchrun -m trainer train ...` or `srun python -m trainer
    train ...`, or, for one process, `python -m trainer train ...`.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    site: Annotated[SiteConfig, tyro.conf.arg(name="")]
    """Where it runs."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Write report.md and curves.png of a run anew from its metrics."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Measure speed in pairs, each side by side in this process, and print a table with ratios.

    --models: a training step of each network beside the same network of timm or torchvision.
    """

    models: bool = False
    """Measure the networks."""
    pattern: str = "*"
    """Networks to measure: part of a name, or a pattern with * and ?."""
    settings: Annotated[BenchConfig, tyro.conf.arg(name="")]
    """What they are measured on."""
    json: Path | None = None
    """Also write the rows to this file."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad input and nothing was done, 75 stopped in good order, 130 interrupted.
    """
    try:
        match command := parse(sys.argv[1:] if arguments is None else arguments):
            case Train():
                return train(command, from_environment())
            case Report():
                return report(command)
            case Bench():
                return bench(command, from_environment())
    except (InvalidConfigError, WorldError) as error:
        return refuse(str(error).splitlines())
    except BrokenPipeError:  # the reader of --help has seen enough
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was lost\n")
        return INTERRUPTED


def parse(arguments: list[str]) -> Train | Report | Bench:
    """The command, with the recipe's values as the defaults of its flags.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    settings = named_recipe(arguments, "train")
    default = Train(recipe=tyro.MISSING, settings=settings, site=SiteConfig(data=tyro.MISSING, output=tyro.MISSING))
    train_command = Annotated[Train, tyro.conf.subcommand("train", default=default)]
    report_command = Annotated[Report, tyro.conf.subcommand("report")]
    bench_command = Annotated[Bench, tyro.conf.subcommand("bench")]
    return tyro.cli(
        train_command | report_command | bench_command,  # pyright: ignore[reportArgumentType]
        args=arguments,
        prog="python -m trainer",
        config=(tyro.conf.AvoidSubcommands,),
        console_outputs=speaks(),
    )


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
    problems = preflight.problems(command.settings, command.site, world)
    if problems:
        return refuse(problems, world)
    run = RunDirectory(command.site.output)
    if run.finished():
        sys.stdout.write(f"nothing to do, this run is {run.guide()}" if world.is_main else "")
        return 0
    _rest_at_barriers()
    stop = StopFlag()
    stop.install()
    return _train(command, world, stop)


def report(command: Report) -> int:
    """Write a run's report."""
    run = RunDirectory(command.run)
    if not run.recipe.exists():
        return refuse([f"{command.run} is not a run directory: it holds no {run.recipe.name}"])
    from trainer import report

    report.write(run)
    sys.stdout.write(run.guide())
    return 0


def bench(command: Bench, world: World) -> int:
    """Measure each pair and print its row."""
    settings = command.settings
    problems = range_problems(settings, flags=True)
    if not command.models:
        problems.append("nothing to measure: add --models")
    if world.world_size > 1:
        problems.append(f"{world.world_size} processes: pairs are timed in one; start it with python -m trainer bench")
    if command.json and (command.json.is_dir() or not command.json.parent.is_dir()):
        problems.append(f"--json: {command.json} cannot be a file; name one in a folder that exists")
    try:
        names = registry.matching(command.pattern)
    except ValueError as error:
        return refuse([*problems, f"--pattern: {error}"])
    sizes = [(name, settings.image_size or registry.entry(name).image_size) for name in names]
    for name, size in sizes:
        problems += registry.problems(ModelConfig(name=name), size, "--image-size")
    if problems:
        return refuse(problems)
    _rest_at_barriers()
    return _bench(command, names, world)


def refuse(problems: list[str], world: World | None = None) -> int:
    """Say on one screen why nothing was done: rank 0, and in a line the first process of every other machine."""
    world = world or World()
    if not world.is_main:
        if world.local_rank == 0:
            sys.stderr.write(f"rank {world.rank} on {socket.gethostname()} cannot start: {problems[0]}\n")
        return BAD_INPUT
    lines = "".join(f"  {problem}\n" for problem in problems[:12])
    more = f"  and {len(problems) - 12} more\n" if len(problems) > 12 else ""
    sys.stderr.write(f"cannot start; nothing was written\n{lines}{more}")
    return BAD_INPUT


def _train(command: Train, world: World, stop: StopFlag) -> int:
    from data.manifest import DamagedManifestError
    from data.types import BrokenImageError
    from trainer.build import ChangedDataError, PeerFailedError, network_problems
    from trainer.loop import DivergedError
    from trainer.train import train

    problems = network_problems(command.settings) or _begin(command, world)
    if problems:
        return refuse(problems, world)
    try:
        return train(command.settings, command.site, world, stop)
    except StopRequestedError as error:
        sys.stderr.write(f"stopped by {error} before the first step; the same command starts again\n")
        return START_AGAIN
    except PeerFailedError:  # which says why
        return FAILED
    except (BrokenImageError, ChangedDataError, DamagedManifestError, DivergedError, OSError) as error:
        sys.stderr.write(f"failed: {error}\n" if world.is_main or not isinstance(error, DivergedError) else "")
        return FAILED


def _begin(command: Train, world: World) -> list[str]:
    """Make the run directory (rank 0 only); why it cannot be made."""
    try:
        if world.is_main:
            RunDirectory(command.site.output).begin(command.settings)
    except OSError as error:
        return [f"--output: {error.filename}: {error.strerror}"]
    return []


def _bench(command: Bench, names: list[str], world: World) -> int:
    from data.workers import cores
    from models.console import progress, show
    from trainer import bench
    from trainer.runtime import Runtime

    settings = command.settings
    runtime = Runtime(world, settings.precision, settings.threads or cores())
    rows: list[bench.Row] = []

    def cells() -> Iterator[tuple[str, ...]]:
        for name in progress(names):
            rows.append(bench.measure(name, runtime, settings))
            yield bench.cells(rows[-1])

    show(bench.HEAD, cells())
    if command.json:
        bench.save(rows, runtime, settings, command.json)
    return 0


def _rest_at_barriers() -> None:
    """Before torch loads OpenMP, whose threads spin at a barrier and so stall each other on a core that is shared.

    Measured on 2 cores beside another program: 3 images/s spinning, 80 asleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

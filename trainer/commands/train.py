"""`provenet train`: its flags and checks. Loads torch only for a run that passes the first of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from data.names import shown
from trainer import preflight, variables
from trainer.commands.parsing import Imports, named_recipe
from trainer.cpus import sleep_at_barriers
from trainer.exits import begun, refuse
from trainer.recipe import smoke
from trainer.recipe.config import Recipe, SiteConfig
from trainer.recipe.decode import InvalidConfigError
from trainer.rundir import RunDirectory
from trainer.stopping import StopFlag
from trainer.terminal import write
from trainer.watcher import watching
from trainer.world import World, launched


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Train a recipe, evaluate it after each epoch, and write checkpoints, metrics and a report.

    RECIPE is the name of a recipe or the path of a YAML file, and comes first. The fields of the recipe are flags, all
    but the kinds of its optimizer and schedule; the values shown are those of the recipe. A run directory that holds
    this recipe's run is continued.

    Start it with `accelerate launch "$(command -v provenet)" train ...`, `torchrun "$(command -v provenet)" train ...`
    or `srun provenet train ...`, or, for one process, `provenet train ...`.

    Example: provenet train resnet50 --data /imagenet --output runs/r50
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    site: tyro.conf.OmitArgPrefixes[SiteConfig]
    """Where it runs."""
    imports: Imports = ()
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""

    def run(self, world: World) -> int:
        """Train, unless the run cannot start or is finished."""
        settings = smoke.tried(self.settings, self.site)
        command = replace(self, settings=preflight.adopted(settings, self.site))
        problems = preflight.problems(command.settings, self.site, world)
        if problems:
            return refuse(problems, world)
        run = RunDirectory(self.site.output)
        stop = StopFlag()
        if run.finished():
            return _finished(run, world, stop) if world.is_main else 0
        sleep_at_barriers()
        stop.install()
        begun()  # before torch is loaded and the processes meet: what ends a process there is no failure of the run
        with watching(stop, launched=launched()):
            return _train(command, world, stop)


def default(words: Sequence[str]) -> Train:
    """The values of the recipe that was typed.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    site = SiteConfig(data=tyro.MISSING, output=tyro.MISSING)
    return Train(recipe=tyro.MISSING, settings=named_recipe(words, "train"), site=site)


def _finished(run: RunDirectory, world: World, stop: StopFlag) -> int:
    """Print what a finished run has left, after its end has been completed if that was cut short."""
    if run.is_cut_short():
        from trainer.commands.failures import explained
        from trainer.train import complete_end

        stop.install()
        if code := explained(lambda: complete_end(run, stop), world):
            return code
    write(f"nothing to do, this run is {run.guide()}")
    return 0


def _train(command: Train, world: World, stop: StopFlag) -> int:
    from trainer.commands.failures import explained
    from trainer.train import train

    settings, site = command.settings, command.site
    try:
        settings, notes = preflight.begun(settings, site)
    except InvalidConfigError as error:
        return refuse(error.problems, world)
    if world.is_main and not site.quiet:
        write("".join(f"{shown(note)}\n" for note in notes))
    if problems := preflight.machine_problems(settings, site, world):
        return refuse(problems, world)
    variables.record_collectives(site.output)
    code = explained(lambda: train(settings, site, world, stop), world)
    with suppress(OSError):
        site.output.rmdir()  # it is empty where the images were refused, and only there
    return code

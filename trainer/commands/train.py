"""`provenet train`: its flags and checks. Loads torch only for a run that passes the first of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from trainer import preflight
from trainer.commands.parsing import named_recipe
from trainer.cpus import sleep_at_barriers
from trainer.exits import begun, note, refuse
from trainer.recipe.config import Recipe, SiteConfig
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
    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    """What is learned."""

    def run(self, world: World) -> int:
        """Train, unless the run cannot start or is finished."""
        recipe = preflight.adopted(self.settings, self.site)
        if problems := preflight.problems(recipe, self.site, world):
            return refuse(problems, world)
        run = RunDirectory(self.site.output)
        stop = StopFlag()
        if run.finished():
            return _finished(run, world, stop) if world.is_main else 0
        if world.is_main and (warnings := preflight.warnings(self.recipe, self.settings, self.site)):
            note("\n".join(warnings))
        sleep_at_barriers()
        stop.install()
        begun()  # before torch is loaded and the processes meet: what ends a process there is no failure of the run
        with watching(stop, launched=launched()):
            from trainer.commands.failures import explained
            from trainer.train import start

            return explained(lambda: start(recipe, self.site, world, stop), world)


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
        from trainer.ending import complete_end

        stop.install()
        if code := explained(lambda: complete_end(run, stop), world):
            return code
    write(f"nothing to do, this run is {run.guide()}")
    return 0

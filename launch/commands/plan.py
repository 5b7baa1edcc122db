"""`provenet plan`: its flags and refusals. Loads torch only to count the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from launch.plan import plan_table, speeds
from launch.plan.config import PlanConfig, plan_problems
from launch.plan.forecast import Forecast, TooShortError, gpu_counts
from launch.plan.network_size import weigh
from launch.plan.speeds import Measured
from models import registry
from trainer.commands.parsing import Imports, named_recipe
from trainer.exits import FAILED, refuse, say
from trainer.recipe.checks import recipe_problems, world_problems
from trainer.recipe.config import Recipe
from trainer.recipe.decode import InvalidConfigError, range_problems
from trainer.terminal import write


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Predict a run on 1 to 1,024 GPUs: hours, images/s, what bounds it, checkpoints, jobs, loader cores.

    RECIPE is the name of a recipe or the path of a YAML file, and comes first; the fields of the recipe are flags.
    Every assumption is printed, with its source. Nothing is started or written.

    Example: provenet plan resnet50 --nodes 4 --gpu a100 --global-batch 1024 --hours 12
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name or path of a recipe."""
    config: Annotated[PlanConfig, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="plan")] = field(
        default_factory=PlanConfig
    )
    """The cluster, the images and the speeds."""
    imports: Imports = ()
    settings: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    """What is learned."""

    def run(self) -> int:
        """Print the plan.

        Returns:
            Exit code: 0 done, 1 the network cannot be built, 2 bad input.

        Raises:
            InvalidConfigError: The file of `measured` cannot be read.
        """
        config, recipe = self.config, self.settings
        known = speeds.read(config.measured) if config.measured else None
        if problems := self._problems(known):
            return refuse(problems)
        try:
            network = weigh(recipe)
            rates, sources = known.speeds(config, recipe) if known else speeds.published(config, recipe, network)
            self._show(Forecast(config=config, recipe=recipe, network=network, speeds=rates), sources)
        except TooShortError as error:
            return refuse([str(error)])
        except InvalidConfigError as error:
            return refuse(error.problems)
        except (RuntimeError, ValueError) as error:  # of another package's network, whose limits we do not know
            return say(f"failed: {error}", FAILED)
        return 0

    def _problems(self, known: Measured | None) -> list[str]:
        config, recipe = self.config, self.settings
        if problems := [*range_problems(recipe), *range_problems(config, flags=True)]:
            return problems  # the other checks compute with the values
        problems = [*recipe_problems(recipe), *registry.problems(recipe.model, recipe.input.train_size)]
        rates = known.problems(recipe) if known else speeds.published_problems(config, recipe)
        return [*problems, *plan_problems(config), *rates]

    def _show(self, forecast: Forecast, sources: list[str]) -> None:
        asked, counts = self.config.nodes * self.config.gpus_per_node, gpu_counts(self.config)
        impossible = {gpus: problems for gpus in counts if (problems := world_problems(self.settings, gpus))}
        runs = {gpus: forecast.run(gpus) for gpus in counts if gpus not in impossible}
        detail = (
            plan_table.detail(runs[asked], forecast) if asked in runs else f"{asked} GPUs: {impossible[asked][0]}\n"
        )
        write(f"{plan_table.head(forecast)}\n")
        plan_table.show(list(runs.values()))
        write(plan_table.left_out(self.settings, list(impossible)))
        write(f"\n{detail}\n{plan_table.assumptions(forecast, sources)}")


def default(words: Sequence[str]) -> Plan:
    """The values of the recipe that was typed.

    Raises:
        InvalidConfigError: The recipe cannot be read.
    """
    return Plan(recipe=tyro.MISSING, settings=named_recipe(words, "plan"))

"""Everything that can be known to be wrong before anything is started or written. Loads no torch."""

import importlib.util
import sys

from data import tree
from models import registry
from trainer.config import Recipe, SiteConfig, recipe_problems, world_problems
from trainer.decode import range_problems
from trainer.rundir import RunDirectory
from trainer.world import World


def problems(recipe: Recipe, site: SiteConfig, world: World) -> list[str]:
    """Why this run cannot start, one entry each, for the user; empty where it can."""
    found = [*range_problems(recipe), *range_problems(site)]
    if found:
        return found  # what follows computes with the values
    return [
        *recipe_problems(recipe),
        *world_problems(recipe, world.world_size),
        *_model_problems(recipe),
        *tree.problems(site.data, recipe.model.num_classes, recipe.global_batch),
        *RunDirectory(site.output).problems(recipe),
        *_loader_problems(),
    ]


def _model_problems(recipe: Recipe) -> list[str]:
    sizes = {"input.train_size": recipe.input.train_size, "input.eval_crop": recipe.input.eval_crop}
    found = [problem for field, size in sizes.items() for problem in registry.problems(recipe.model, size, field)]
    return list(dict.fromkeys(found))


def _loader_problems() -> list[str]:
    if importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"):
        return []
    where = "install Provenet's extra: pip install -e '.[cuda13]'" if sys.platform == "linux" else "train on Linux"
    return [f"nvidia.dali: not installed; it decodes the images: {where}"]

"""Everything that can be known to be wrong before anything is started or written. Loads no torch."""

import importlib.util
import sys
from collections.abc import Callable

from data import tree
from models import registry
from trainer.config import Recipe, SiteConfig, recipe_problems, world_problems
from trainer.decode import range_problems
from trainer.rundir import RunDirectory
from trainer.world import World


def problems(recipe: Recipe, site: SiteConfig, world: World) -> list[str]:
    """Why this run cannot start, one entry each, for the user; empty where it can."""
    found = [*range_problems(recipe), *range_problems(site, flags=True)]
    if found:
        return found  # what follows computes with the values
    return [
        *recipe_problems(recipe),
        *world_problems(recipe, world.world_size),
        *_model_problems(recipe),
        *_on_disk("--data", lambda: tree.problems(site.data, recipe.model.num_classes, recipe.global_batch)),
        *_on_disk("--output", lambda: RunDirectory(site.output).problems(recipe, site.data)),
        *_loader_problems(),
    ]


def _on_disk(flag: str, look: Callable[[], list[str]]) -> list[str]:
    try:
        return look()
    except OSError as error:
        return [f"{flag}: {str(error.filename)[:200]}: {error.strerror}"]


def _model_problems(recipe: Recipe) -> list[str]:
    model, sizes = recipe.model, recipe.input
    trained = registry.problems(model, sizes.train_size, "input.train_size")
    evaluated = registry.problems(model, sizes.eval_crop, "input.eval_crop", training=False)
    return list(dict.fromkeys([*trained, *evaluated]))


def _loader_problems() -> list[str]:
    if importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"):
        return []
    where = "install Provenet's extra: pip install -e '.[cuda13]'" if sys.platform == "linux" else "train on Linux"
    return [f"nvidia.dali: not installed; it decodes the images: {where}"]

"""Everything that can be known to be wrong before anything is started or written. Loads no torch."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace

from data.installed import has_dali
from models import registry
from trainer.checks import compile_problems, recipe_problems, world_problems
from trainer.config import Recipe, SiteConfig
from trainer.decode import range_problems
from trainer.recipe import load
from trainer.rundir import RunDirectory
from trainer.world import World


def problems(recipe: Recipe, site: SiteConfig, world: World, *, with_data: bool = True) -> list[str]:
    """Why this run cannot start, one entry each, for the user; empty where it can.

    Args:
        recipe: What is learned.
        site: Where.
        world: Who this process is.
        with_data: Whether the images are looked at; there may be none yet.
    """
    found = [*range_problems(recipe), *range_problems(site, flags=True)]
    if found:
        return found  # what follows computes with the values
    return [
        *recipe_problems(recipe),
        *world_problems(recipe, world.world_size),
        *compile_problems(recipe, world.world_size, lowers=site.accumulate == "auto"),
        *_model_problems(recipe),
        *(_on_disk("--data", lambda: _data_problems(recipe, site)) if with_data else []),
        *_on_disk("--output", lambda: RunDirectory(site.output).problems(recipe, site.data)),
        *_loader_problems(site),
        *_tracker_problems(site),
    ]


def adopted(recipe: Recipe, site: SiteConfig) -> Recipe:
    """The recipe with the `micro_batch` that a run found for itself, where that is all it differs in.

    Raises:
        InvalidConfigError: The directory's recipe is damaged.
    """
    run = RunDirectory(site.output)
    if site.accumulate == "recipe" or not run.recipe.exists():
        return recipe
    stored = load(str(run.recipe))
    return stored if replace(stored, micro_batch=recipe.micro_batch) == recipe else recipe


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


def _data_problems(recipe: Recipe, site: SiteConfig) -> list[str]:
    """Of the images, as far as they can be told from the manifests, or without them from the folders."""
    from data import dataset

    folders = (site.output, site.manifests or site.data)
    if site.manifests and not any(dataset.has_manifests(folder) for folder in folders):
        writer = f"provenet verify {site.data} --output {site.manifests}"
        return [f"--manifests: {site.manifests} holds no manifest-train.npz and manifest-val.npz; {writer} writes them"]
    return dataset.problems(site.data, folders, recipe.model.num_classes, recipe.global_batch)


def _tracker_problems(site: SiteConfig) -> list[str]:
    missing = [name for name in site.trackers if importlib.util.find_spec(name) is None]
    return [
        f"--trackers {name}: its package is not installed; pip install {name.replace('_', '-')}" for name in missing
    ]


def _loader_problems(site: SiteConfig) -> list[str]:
    if site.loader in (None, "threads") or has_dali():
        return []
    where = "install Provenet's extra: pip install -e '.[cuda13]'" if sys.platform == "linux" else "train on Linux"
    return [f"--loader {site.loader}: NVIDIA DALI is not installed; use --loader threads, or {where}"]

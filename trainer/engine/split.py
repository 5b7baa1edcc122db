"""The plan of one split, and a loader of it alone with the batches of a run."""

import math
from typing import Literal

import torch

from data.catalog.manifest import Manifest
from data.load import backends
from data.load.loader import PlanLoader
from data.plan.config import EvalViews
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from data.types import Shard
from trainer import cpus
from trainer.console import Console
from trainer.context import Setting
from trainer.engine.run_images import list_split
from trainer.recipe.config import Recipe, SiteConfig
from trainer.stopping import StopFlag

EVAL_BATCH = 64  # images per process and forward pass; scores do not depend on it


def train_plan(recipe: Recipe, images: Manifest, shard: Shard) -> TrainPlan:
    return TrainPlan(
        manifest=images,
        config=recipe.input,
        seed=recipe.seed,
        global_batch=recipe.global_batch,
        micro_batch=recipe.micro_batch,
        shard=shard,
    )


def eval_plan(recipe: Recipe, images: Manifest, shard: Shard) -> EvalPlan:
    batch = min(EVAL_BATCH, math.ceil(len(images) / shard.world_size))  # a short split needs no padding to 64
    return EvalPlan(manifest=images, views=EvalViews.of(recipe.input), batch=batch, shard=shard)


def opened(
    recipe: Recipe, site: SiteConfig, split: Literal["train", "val"], device: str, shard: Shard
) -> tuple[PlanLoader, tuple[str, ...]]:
    """A shard's loader, and the names of the classes; the directory of `site` gets the recipe and the list of images.

    Raises:
        Exception: As of `list_split`; UnusableBackendError: The loader that the site names cannot be used here.
    """
    setting = Setting(recipe=recipe, site=site, stop=StopFlag(), console=Console(quiet=True))
    setting.run.make()
    setting.run.begin(recipe)
    images, on, threads = list_split(setting, split), torch.device(device), site.threads or len(cpus.allowed())
    backend = backends.choose(site.loader, images, on, threads).backend
    plan = (train_plan if split == "train" else eval_plan)(recipe, images, shard)
    used = backend if split == "train" else backends.evaluating(backend)
    loader = backends.open_loader(plan, used, device=on, threads=threads, max_broken=site.max_broken)
    return loader, images.classes

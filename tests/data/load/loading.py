"""Loaders over both backends, for the tests that compare or try them."""

from collections.abc import Iterable

import numpy as np
import torch

from data.catalog.manifest import Manifest
from data.load.backends import open_loader
from data.load.loader import PlanLoader
from data.plan.config import EvalViews, InputConfig
from data.plan.evaluation import EvalPlan
from data.plan.plan import TrainPlan
from data.types import Backend, Batch, Shard

CONFIG = InputConfig(train_size=40, eval_resize=48, eval_crop=40)
BACKENDS: tuple[Backend, ...] = ("threads", "dali")


def train_loader(
    backend: Backend,
    images: Manifest,
    config: InputConfig = CONFIG,
    *,
    shard: Shard | None = None,
    threads: int = 2,
    max_broken: float = 0.0,
) -> PlanLoader:
    """Micro-batches of 4 in steps of 8."""
    plan = TrainPlan(manifest=images, config=config, seed=3, global_batch=8, micro_batch=4, shard=shard or Shard())
    return open_loader(plan, backend, device=torch.device("cpu"), threads=threads, max_broken=max_broken)


def eval_loader(
    backend: Backend, images: Manifest, batch: int, config: InputConfig = CONFIG, max_broken: float = 0.0
) -> PlanLoader:
    """One process's evaluation."""
    plan = EvalPlan(manifest=images, views=EvalViews.of(config), batch=batch, shard=Shard())
    return open_loader(plan, backend, device=torch.device("cpu"), threads=2, max_broken=max_broken)


def same(ours: Batch, theirs: Batch) -> bool:
    """Whether two batches agree in every byte."""
    names = ("images", "targets", "indices", "valid", "mixing", *(["noise"] if ours.noise is not None else []))
    return all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in names) and (
        ours.broken == theirs.broken
    )


def rows(batches: Iterable[Batch]) -> dict[int, np.ndarray]:
    """Pixels by row of the manifest, of the valid rows."""
    return {
        int(index): image.numpy().astype(int)
        for batch in batches
        for image, index, valid in zip(batch.images, batch.indices, batch.valid, strict=True)
        if valid
    }

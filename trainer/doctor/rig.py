"""A run as the doctor measures it: the trainer's own engine, on some images, with a learning rate of almost zero."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.catalog import dataset
from data.catalog.known import IMAGENET_IMAGES
from data.catalog.listing import SPLITS, manifest_file
from data.catalog.manifest import Manifest
from data.load import backends
from data.synth import synth
from data.synth.config import Synth
from data.types import Batch
from data.workers import MOST, cores
from trainer.console import Console
from trainer.context import RunContext
from trainer.doctor.bound import Change
from trainer.engine import build
from trainer.engine.boundary import Keeper
from trainer.engine.build import Data
from trainer.engine.fit import Fit
from trainer.engine.run_images import UnusableDataError, scanned
from trainer.optim.config import ConstantScheduleConfig
from trainer.peers import on_main
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.terminal import counting

CIFAR_IMAGES = {"train": 50_000, "val": 10_000}
_LISTED = {"train": 640, "val": 256}
_EPOCHS = 1_000_000  # never reached
_LR = 1e-12  # the arithmetic of a step does not depend on it, and so no recipe diverges


@dataclass(frozen=True, slots=True)
class Sample:
    """Images to measure on, how many the run's own data set has, and what they are, for the user."""

    train: Manifest
    val: Manifest
    counts: dict[str, int]
    source: str

    def repeated(self, least: int) -> tuple[Manifest, Manifest]:
        """Train, its images repeated until there are at least so many, and val."""
        count = len(self.train)
        return (self.train if count >= least else self.train.take(np.arange(least) % count)), self.val


def sample(recipe: Recipe, site: SiteConfig, runtime: Runtime, *, draw: bool) -> Sample:
    """List what can be listed in seconds (collective), into `site.output`; raises as `run_images.list_images` does."""
    stored, counts_file = site.manifests or site.data, site.output / "counts.json"
    if not draw and dataset.has_manifests(stored):
        data = dataset.find(site.data, site)
        train, val = (data.manifest(stored, split) for split in SPLITS)
        return Sample(train, val, {"train": len(train), "val": len(val)}, f"{site.data}, as listed there")
    on_main(runtime, lambda: _prepare(recipe, site, counts_file, draw=draw), UnusableDataError, OSError)
    data = dataset.find(site.data, site)  # drawn until now
    train, val = (data.manifest(site.output, split) for split in SPLITS)
    if not draw:
        source = f"{len(train)} images of {site.data}, cached in memory; after provenet verify, all are read from disk"
        return Sample(train, val, json.loads(counts_file.read_text()), source)
    classes = recipe.model.num_classes
    name, counts = ("CIFAR", CIFAR_IMAGES) if recipe.input.crop == "padded" else ("ImageNet", IMAGENET_IMAGES)
    source = f"{len(train)} drawn JPEGs, as no --data was given; an epoch has as many as {name}"
    train, val = (replace(images, targets=images.targets % classes) for images in (train, val))
    return Sample(train, val, counts, source)


def _prepare(recipe: Recipe, site: SiteConfig, counts_file: Path, *, draw: bool) -> None:
    """Draw or list the images, and store the lists."""
    counts: dict[str, int] = {}
    try:
        if draw:
            scale = "small" if recipe.input.train_size <= 64 else "full"
            options = Synth(scale=scale, classes=4, train_per_class=40, val_per_class=16)
            synth.write(site.data, options, workers=min(cores(), MOST))
        data = dataset.find(site.data, site)
        for split in SPLITS:
            listing = data.listing(split)
            counts[split] = len(listing.entries)
            with counting(f"looking at images of {site.data / split}", "images") as show:
                images = scanned(listing.spread(_LISTED[split]), None, show)
            if not len(images):
                raise UnusableDataError(f"--data: {site.data / split} holds no image that can be decoded")
            images.save(manifest_file(site.output, split))
        counts_file.write_text(json.dumps(counts))
    except ValueError as error:
        raise UnusableDataError(str(error)) from None


class Alarm(StopFlag):
    """Asks the loop to stop at the end of the step in which `ends` becomes true."""

    ends: Callable[[], bool] = staticmethod(lambda: True)

    @property
    def is_set(self) -> bool:
        return self.ends()


class Resident(NamedTuple):
    """A loader whose epochs repeat one batch."""

    batch: Batch
    batches_per_epoch: int

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """The batch, once for each batch that is left of the epoch."""
        del epoch
        return repeat(self.batch, self.batches_per_epoch - first_batch)

    def close(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """A run to measure for about so many seconds each time, in steps of `passes` micro-batches."""

    recipe: Recipe
    site: SiteConfig
    runtime: Runtime
    sample: Sample
    seconds: float
    passes: int

    @property
    def measured(self) -> Recipe:
        """The recipe as it is trained here: steps of `passes`, at their full size, that change next to nothing."""
        return replace(
            self.recipe,
            epochs=_EPOCHS,
            global_batch=self.recipe.micro_batch * self.passes * self.runtime.world.world_size,
            optimizer=replace(self.recipe.optimizer, lr=_LR),
            schedule=ConstantScheduleConfig(),
            input=replace(self.recipe.input, start_size=None, growth_epochs=(0.0, 0.0), drop_last=True),
        )

    @property
    def backend(self) -> backends.Chosen:
        return backends.choose(self.site.loader, self.sample.train, self.runtime.device, self.runtime.threads)

    def changed(self, change: Change) -> "Rig":
        """The run with other settings, in steps of about as many images."""
        recipe, site = replace(self.recipe, **change.recipe), replace(self.site, **change.site)
        runtime = self.runtime.varied(precision=recipe.precision, threads=site.threads or self.runtime.threads)
        passes = max(1, self.passes * self.recipe.micro_batch // recipe.micro_batch)
        return replace(self, recipe=recipe, site=site, runtime=runtime, passes=passes)

    def say(self, text: str) -> None:
        if self.runtime.is_main and not self.site.quiet:
            sys.stderr.write(f"{text}\n")


def build_fit(rig: Rig, stack: ExitStack, *, distributed: bool = True) -> Fit:
    """A run at its first step, without checkpoints or telemetry (collective); `stack` closes its loaders.

    Where it is not `distributed`, gradients stay in this process.
    """
    recipe, runtime = rig.measured, rig.runtime
    runtime.use()
    context = RunContext(recipe=recipe, site=rig.site, runtime=runtime, stop=Alarm(), console=Console())
    network = build.network(context, distributed=distributed)
    plans = build.plans(context, rig.sample.repeated(4 * recipe.global_batch))
    data = Data(plans=plans, loaders=build.loaders(context, plans, rig.backend, stack))
    return build.assemble(context, network, data, Keeper(context, network.state, None, None), stack)

"""The lists of a run's images: made by its first start, and used by all later ones."""

import shlex
from concurrent.futures import BrokenExecutor
from pathlib import Path

from data.catalog import dataset
from data.catalog.dataset import DataSet
from data.catalog.listing import SPLITS, Listing, manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.types import Progress
from data.verify import changes, verify
from data.workers import cores
from trainer.context import RunContext
from trainer.exits import RunEndedError
from trainer.peers import on_main
from trainer.recipe import smoke
from trainer.stopping import StopRequestedError
from trainer.terminal import counting

_PER_WORKER = 500  # images that are read in the time in which a worker process starts


class UnusableDataError(RunEndedError):
    """The images on disk are not those listed, or too many are broken; the message names some, and the fix."""

    said_by = "main"


def list_images(context: RunContext) -> tuple[Manifest, Manifest]:
    """The manifests of train and val; rank 0 makes and checks them (collective).

    A run uses the manifests that `provenet verify` wrote, or else makes its own; it stores them in its directory.

    Raises:
        PeerFailedError: Rank 0 raises one of the following.
        UnusableDataError: The images cannot be listed, are not those listed, or too many are broken.
        DamagedManifestError: A list that was stored cannot be read.
        trainer.stopping.StopRequestedError: Asked to stop while listing.
        OSError: A list cannot be read or written.
    """
    data = dataset.find(context.site.data)
    # a stop signal to the whole process group, as Slurm sends it, ends the worker processes too
    expected = (UnusableDataError, DamagedManifestError, StopRequestedError, BrokenExecutor, OSError)
    try:
        on_main(context.runtime, lambda: _prepare(context, data), *expected)
    except Exception:
        context.stop.check()
        raise
    train, val = (data.manifest(context.run.path, split) for split in SPLITS)
    return train, val


def _prepare(context: RunContext, data: DataSet) -> None:
    """Make the manifests that are missing, and check all."""
    manifests: list[Manifest] = []
    for split in SPLITS:
        exists = context.run.manifest(split).exists()
        images = data.manifest(context.run.path, split) if exists else _listed(context, data, split)
        _check(images, context, begun=exists)
        if not exists:
            images.save(context.run.manifest(split))
        dataset.journal_file(context.run.path, split).unlink(missing_ok=True)
        manifests.append(images)
    recipe, (train, val) = context.recipe, manifests
    if problems := dataset.counts(train, val, recipe.model.num_classes, recipe.global_batch):
        raise UnusableDataError("\n  ".join(problems))


def _listed(context: RunContext, data: DataSet, split: str) -> Manifest:
    root, folder = context.site.data, context.site.manifests or context.site.data
    few = smoke.images(context.recipe, split) if context.site.smoke else None
    if manifest_file(folder, split).exists():
        stored = data.manifest(folder, split)
        return stored if few is None else stored.spread(few)
    try:
        with counting(f"listing {root / split}", "classes") as show:
            listing = data.listing(split, show)
        listing = listing if few is None else listing.spread(few)
    except ValueError as error:  # a damaged archive
        raise UnusableDataError(str(error)) from None
    with counting(f"looking at the images of {root / split}", "images") as show:

        def progress(done: int, total: int) -> None:
            context.stop.check()
            show(done, total)

        return scanned(listing, dataset.journal_file(context.run.path, split), progress)


def scanned(listing: Listing, journal: Path | None, progress: Progress) -> Manifest:
    """Read every image with a suitable number of worker processes; see `data.verify.verify.scan`."""
    workers = min(cores(), 1 + len(listing.entries) // _PER_WORKER)
    return verify.scan(listing, journal=journal, workers=workers, progress=progress).manifest


def _check(images: Manifest, context: RunContext, *, begun: bool) -> None:
    if problem := verify.problem(images, context.site.max_broken):
        raise UnusableDataError(problem)
    change = changes.changed(images)
    if change and begun:  # one lost file must not end a run of days; the loaders count the images they replace
        context.console.say(f"{change}; what cannot be read as it was listed is replaced, up to --max-broken")
    elif change:
        lister = f"provenet verify {shlex.quote(str(context.site.data))}"
        raise UnusableDataError(f"{change}\n  {lister} lists what is there now")

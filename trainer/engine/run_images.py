"""The images of a run: listed once, by its first start, and the same for all that follow."""

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
from trainer.peers import PeerFailedError, aside
from trainer.recipe import smoke
from trainer.stopping import StopRequestedError
from trainer.terminal import counting

_PER_WORKER = 500  # images that are read in the time that another process takes to start


class UnusableDataError(RunEndedError):
    """The images on disk are not those listed, or too many are broken; the message names some, and the mend."""

    said_by = "main"


def list_images(context: RunContext) -> tuple[Manifest, Manifest]:
    """The manifests of train and val; rank 0 makes and checks them (collective).

    A run takes the manifests that `provenet verify` wrote, where there are any, and else makes its own; both are
    kept in its directory.

    Raises:
        PeerFailedError: Rank 0 raises one of the following.
        UnusableDataError: The images cannot be listed, are not those listed, or too many are broken.
        DamagedManifestError: A list that was stored cannot be read.
        trainer.stopping.StopRequestedError: Asked to stop while listing.
        OSError: A list cannot be read or written.
    """
    data = dataset.find(context.site.data)
    failure = aside(context.runtime, lambda: _prepare(context, data))
    if context.runtime.any(failure is not None):
        context.stop.check()
        raise failure or PeerFailedError
    train, val = (data.manifest(context.run.path, split) for split in SPLITS)
    return train, val


def _prepare(context: RunContext, data: DataSet) -> Exception | None:
    """Make what is missing and check it; what went wrong is given back, so that all ranks can leave together."""
    try:
        listed: list[Manifest] = []
        for split in SPLITS:
            begun = context.run.manifest(split).exists()
            images = data.manifest(context.run.path, split) if begun else _listed(context, data, split)
            _check(images, context, begun=begun)
            if not begun:
                images.save(context.run.manifest(split))
                dataset.journal_file(context.run.path, split).unlink(missing_ok=True)
            listed.append(images)
        recipe, (train, val) = context.recipe, listed
        if problems := dataset.counts(train, val, recipe.model.num_classes, recipe.global_batch):
            return UnusableDataError("\n  ".join(problems))
    # a signal to the whole group, as Slurm sends it, ends the processes that read as well
    except (UnusableDataError, DamagedManifestError, StopRequestedError, BrokenExecutor, OSError) as error:
        return error
    return None


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
    except ValueError as error:  # an archive that is not as it should be
        raise UnusableDataError(str(error)) from None
    with counting(f"looking at the images of {root / split}", "images") as show:

        def progress(done: int, total: int) -> None:
            context.stop.check()
            show(done, total)

        return scanned(listing, dataset.journal_file(context.run.path, split), progress)


def scanned(listing: Listing, journal: Path | None, progress: Progress) -> Manifest:
    """Look at every image, with as many processes as are worth their start; see `data.verify.verify.scan`."""
    workers = min(cores(), 1 + len(listing.entries) // _PER_WORKER)
    return verify.scan(listing, known=None, journal=journal, workers=workers, progress=progress)


def _check(images: Manifest, context: RunContext, *, begun: bool) -> None:
    if problem := verify.problem(images, context.site.max_broken):
        raise UnusableDataError(problem)
    change = changes.changed(images)
    if change and begun:  # one lost file must not end a run of days; the loaders count what they replace
        context.console.say(f"{change}; what cannot be read as it was listed is replaced, up to --max-broken")
    elif change:
        lister = f"provenet verify {context.site.data}"
        raise UnusableDataError(f"{change}\n  {lister} lists what is there now")

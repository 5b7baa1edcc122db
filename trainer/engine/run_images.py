"""The lists of a run's images: made by its first start, and used by all later ones."""

import shlex
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from data import workers
from data.catalog import checks, dataset
from data.catalog.dataset import DataSet
from data.catalog.layout import chosen
from data.catalog.listing import SPLITS, Listing, manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.types import Progress
from data.verify import changes, hashing, verify
from data.workers import cores
from trainer.context import RunContext, Setting
from trainer.exits import BAD_INPUT, RunEndedError
from trainer.peers import PeerFailedError, on_main
from trainer.recipe import smoke
from trainer.recipe.config import flags
from trainer.stopping import StopRequestedError
from trainer.terminal import counting

AT_ONCE = 10_000
"""Images of a split that are decoded before a run begins, in 15 s on one core; of more, only the headers are read."""
_PER_WORKER = 500  # images that are read in the time in which a worker process starts


Images = tuple[Manifest, Manifest]
"""The lists of train and val."""


class UnusableDataError(RunEndedError):
    """The images on disk are not those listed, or too many are broken; the message names some, and the fix."""

    said_by = "main"


class RefusedDataError(UnusableDataError):
    """The images do not fit the recipe, or none could be trained on them; found before the run began."""

    code = BAD_INPUT


def list_images(context: RunContext) -> Images:
    """The manifests of train and val; rank 0 makes and checks them, and begins the run in between (collective).

    A run uses the manifests that `provenet verify` wrote, or else makes its own; it stores them in its directory.

    Raises:
        PeerFailedError: Rank 0 raises one of the following.
        RefusedDataError: The images cannot be listed or trained on; the run has not begun.
        UnusableDataError: The images are not those listed, or too many are broken.
        DamagedManifestError: A list that was stored cannot be read.
        trainer.stopping.StopRequestedError: Asked to stop while listing.
        OSError: A list cannot be read or written.
    """
    data = dataset.find(context.site.data, context.site)
    # a stop signal to the whole process group, as Slurm sends it, ends the worker processes too
    expected = (UnusableDataError, DamagedManifestError, StopRequestedError, BrokenExecutor, OSError)
    try:
        on_main(context.runtime, lambda: _prepare(context, data), *expected)
    except Exception:
        context.stop.check()
        raise
    train, val = (data.manifest(context.run.path, split) for split in SPLITS)
    return train, val


def hashing_behind(context: RunContext, images: Images) -> AbstractContextManager[None]:
    """Let a process on rank 0 hash the images of lists that have no hashes while the block trains on them."""
    files = [(context.run.manifest(split), one.root) for split, one in zip(SPLITS, images, strict=True)]
    needed = context.runtime.is_main and not all(one.hashed for one in images)
    return workers.behind(partial(hashing.slowly, files[::-1])) if needed else nullcontext()  # val is small: first


def hashed(context: RunContext, images: Images) -> Images | None:
    """The lists with hashes, which rank 0 completes and stores after the training; None: stopped in that (collective).

    Raises:
        BrokenExecutor, OSError: A worker was killed, or a list cannot be written; PeerFailedError on the other ranks.
    """
    expected = (StopRequestedError, BrokenExecutor, OSError)
    try:
        done = on_main(context.runtime, lambda: tuple(map(partial(_hashed, context), SPLITS, images)), *expected)
    except (PeerFailedError, *expected):
        if context.should_stop():
            return None
        raise
    train, val = done or images
    return train, val


def _hashed(context: RunContext, split: str, images: Manifest) -> Manifest:
    file, stored = context.run.manifest(split), hashing.progress_file(context.run.manifest(split))
    if images.hashed:
        stored.unlink(missing_ok=True)  # of a process that was killed before it did
        return images
    with counting(f"hashing the images of {images.root}", "images") as show:
        done = hashing.hashed(images, stored, cores(), lambda *counts: context.stop.check() or show(*counts))
    lost = len(done) - int(done.hashes.any(1).sum())
    if lost > context.site.max_broken * len(done):
        context.console.say(f"{images.root}: {lost:,} of {len(done):,} images cannot be read now: no hash of the data")
        return images
    done.save(file)
    stored.unlink(missing_ok=True)
    return done


def _prepare(context: RunContext, data: DataSet) -> None:
    """Check what there is, begin the run, make the manifests that are missing, and check all."""
    recipe, run = context.recipe, context.run
    sizes = recipe.model.num_classes, recipe.global_batch
    begun = any(run.manifest(split).exists() for split in SPLITS)
    sources = [_source(context, data, split) for split in SPLITS]
    for line in (line for one in sources if isinstance(one, Listing) for line in one.notes):
        context.console.say(line)
    train, val = (images.contents() for images in sources)
    if not begun and (problems := checks.all_problems(train, val, *sizes)):
        raise RefusedDataError("\n".join(problems))
    run.begin(recipe)
    train, val = (_listed(context, split, one).contents() for split, one in zip(SPLITS, sources, strict=True))
    if problems := checks.misfits(train, val, *sizes):
        raise UnusableDataError("\n  ".join(problems))


def list_split(context: Setting, split: str) -> Manifest:
    """The list of a split's images as a run in the same directory makes it, and stored there, for a loader alone.

    Raises:
        UnusableDataError: They cannot be listed, are not those listed, or too many are broken.
        DamagedManifestError, OSError: A list that was stored cannot be read; a file cannot be read or written.
    """
    images = _listed(context, split, _source(context, dataset.find(context.site.data, context.site), split))
    recipe, one = context.recipe, images.contents()
    least = recipe.global_batch if split == "train" else 0
    if problems := checks.misfits(one, one, recipe.model.num_classes, least):
        raise RefusedDataError("\n".join(problems))
    return images


def _source(context: Setting, data: DataSet, split: str) -> Manifest | Listing:
    """The run's own list, or that of `provenet verify`, or else what lies there."""
    lists = context.site.manifests or context.site.data
    if context.run.manifest(split).exists():
        return data.manifest(context.run.path, split)
    if manifest_file(lists, split).exists():
        images = data.manifest(lists, split)
        if problem := _problem(images, context):
            raise RefusedDataError(f"--data: {problem}")
        return images
    try:
        with counting(f"listing {context.site.data / split}", "classes") as show:
            return data.listing(split, show)
    except ValueError as error:
        raise RefusedDataError(f"--data: {error}") from None


def _listed(context: Setting, split: str, source: Manifest | Listing) -> Manifest:
    """The manifest of a split, checked, and stored in the run's directory if it is not there."""
    begun = context.run.manifest(split).exists()
    if context.site.smoke and not begun:
        source = source.spread(smoke.images(context.recipe, split))
    journal, images = dataset.journal_file(context.run.path, split), source
    if isinstance(source, Listing):
        with counting(f"looking at the images of {context.site.data / split}", "images") as show:
            whole = bool(source.raw) or len(source.entries) <= AT_ONCE
            saved = journal if whole else None
            images = scanned(source, saved, lambda *counts: context.stop.check() or show(*counts), whole=whole)
    assert isinstance(images, Manifest)
    # of a list by `provenet verify`, `_source` has seen to it
    if (begun or isinstance(source, Listing)) and (problem := _problem(images, context, begun=begun)):
        raise UnusableDataError(problem)
    if not begun:
        images.save(context.run.manifest(split))
    journal.unlink(missing_ok=True)
    return images


def scanned(listing: Listing, journal: Path | None, progress: Progress, *, whole: bool = True) -> Manifest:
    """Read every image with a suitable number of worker processes; see `data.verify.verify.scan`."""
    per_worker = _PER_WORKER if whole else 10 * _PER_WORKER  # a header takes a tenth of the time
    workers = min(cores(), 1 + len(listing.entries) // per_worker)
    return verify.scan(listing, journal=journal, workers=workers, progress=progress, whole=whole).manifest


def _problem(images: Manifest, context: Setting, *, begun: bool = False) -> str | None:
    """Why a run cannot use these images; of a run that has begun, a change of them is only printed."""
    if problem := verify.problem(images, context.site.max_broken):
        return problem
    change = changes.changed(images)
    if change and begun:  # one lost file must not end a run of days; the loaders count the images they replace
        context.console.say(f"{change}; what cannot be read as it was listed is replaced, up to --max-broken")
    lister = shlex.join(("provenet", "verify", str(context.site.data), *flags(chosen(context.site))))
    return f"{change}\n  {lister} lists what is there now" if change and not begun else None

"""The images on which the doctor measures: the user's, a few of them where they are not listed yet, or drawn ones."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data import dataset
from data.config import Scale, Synth
from data.folder import manifest_file
from data.formats import RAW
from data.known import IMAGENET_IMAGES
from data.manifest import COLUMNS, OF_THE_WHOLE, DamagedManifestError, Manifest
from data.progress import counting
from data.synth import synth
from data.workers import MOST, cores
from trainer.config import Recipe, SiteConfig
from trainer.images import PeerFailedError, UnusableDataError, aside, scanned
from trainer.runtime import Runtime

CIFAR_IMAGES = {"train": 50_000, "val": 10_000}

_SMALL = 64  # pixels: nets for images no larger train on small ones
_CLASSES = 4
_DRAWN = {"train": 160, "val": 64}
_LISTED = {"train": 640, "val": 256}
_COUNTS = "counts.json"


@dataclass(frozen=True, slots=True)
class Sample:
    """Images to measure on, of both splits, and how many the run has."""

    train: Manifest
    val: Manifest
    counts: dict[str, int]
    """Images of each split in the run's own data set."""
    says: str
    """What they are, for the user."""

    @property
    def raw(self) -> bool:
        """Whether there are pixels that need no decoding among those to train on."""
        return bool((self.train.formats == RAW).any())

    def filled(self, least: int) -> tuple[Manifest, Manifest]:
        """Train, its images again and again where it has fewer than so many, and val."""
        return cycled(self.train, least), self.val


def drawn_scale(recipe: Recipe) -> Scale:
    """Which images are drawn for a recipe."""
    return "small" if recipe.input.train_size <= _SMALL else "full"


def sample(recipe: Recipe, site: SiteConfig, runtime: Runtime, *, draw: bool) -> Sample:
    """List what can be listed in seconds (collective); `site.output` is a folder for the doctor's own files.

    Raises:
        PeerFailedError: Rank 0 raises one of the following.
        UnusableDataError: The images cannot be listed.
        DamagedManifestError: A list that was stored cannot be read.
        OSError: Something cannot be read or written.
    """
    stored = site.manifests or site.data
    if not draw and dataset.has_manifests(stored):
        train, val = (dataset.load(stored, site.data, split) for split in dataset.SPLITS)
        return Sample(train, val, {"train": len(train), "val": len(val)}, f"{site.data}, as listed there")
    failure = aside(runtime, lambda: _prepare(recipe, site, draw=draw))
    if runtime.any(failure is not None):
        raise failure or PeerFailedError
    train, val = (dataset.load(site.output, site.data, split) for split in dataset.SPLITS)
    if draw:
        train, val = (_fitting(images, recipe.model.num_classes) for images in (train, val))
        return Sample(train, val, _published(recipe), _drawn_words(recipe, len(train)))
    counts = json.loads((site.output / _COUNTS).read_text())
    return Sample(train, val, counts, _listed_words(site.data, len(train)))


def cycled(images: Manifest, least: int) -> Manifest:
    """The images, the first of them again after the last, until there are so many."""
    if len(images) >= least:
        return images
    return taken(images, np.arange(least) % len(images))


def taken(images: Manifest, rows: np.ndarray) -> Manifest:
    """Some of the usable images, each as often as it is asked for."""
    names = [images.names[(images.ends[row - 1] if row else 0) : images.ends[row]] for row in rows.tolist()]
    columns = {name: getattr(images, name)[rows] for name in COLUMNS if name not in OF_THE_WHOLE}
    columns |= {"names": np.concatenate(names), "ends": np.cumsum([len(name) for name in names], dtype=np.int64)}
    return replace(images, broken=(), **columns)


def _prepare(recipe: Recipe, site: SiteConfig, *, draw: bool) -> Exception | None:
    """Draw or list, and write what was found; what went wrong is given back, so that all ranks can leave together."""
    counts: dict[str, int] = {}
    try:
        if draw:
            _draw(recipe, site.data)
        for split in dataset.SPLITS:
            listing = dataset.listing(site.data, split)
            counts[split] = len(listing.entries)
            with counting(f"looking at images of {site.data / split}", "images") as show:
                found = scanned(listing.spread(_LISTED[split]), None, show)
            if not len(found):
                return UnusableDataError(f"--data: {site.data / split} holds no image that can be decoded")
            found.save(manifest_file(site.output, split))
        (site.output / _COUNTS).write_text(json.dumps(counts))
    except (ValueError, OSError, DamagedManifestError) as error:
        return error if isinstance(error, OSError) else UnusableDataError(str(error))
    return None


def _draw(recipe: Recipe, root: Path) -> None:
    per_class = {split: count // _CLASSES for split, count in _DRAWN.items()}
    options = Synth(
        scale=drawn_scale(recipe),
        classes=_CLASSES,
        train_per_class=per_class["train"],
        val_per_class=per_class["val"],
    )
    synth.write(root, options, workers=min(cores(), MOST))


def _fitting(images: Manifest, num_classes: int) -> Manifest:
    """Targets that the network knows."""
    return replace(images, targets=images.targets % num_classes)


def _published(recipe: Recipe) -> dict[str, int]:
    """How many images the recipe's own data set has, as far as its crops and classes tell."""
    return CIFAR_IMAGES if recipe.input.crop == "padded" and recipe.model.num_classes <= 100 else IMAGENET_IMAGES


def _drawn_words(recipe: Recipe, count: int) -> str:
    whose = "CIFAR" if _published(recipe) is CIFAR_IMAGES else "ImageNet"
    sizes = "a quarter of ImageNet's sizes" if drawn_scale(recipe) == "small" else "ImageNet's sizes"
    return (
        f"{count} drawn JPEGs of {sizes}, as no --data was given; epochs are those of {whose}'s "
        f"{_published(recipe)['train']:,} images, and no disk is in the loader's figures"
    )


def _listed_words(root: Path, count: int) -> str:
    return (
        f"{count} of the images in {root}, which are in memory once looked at: the disk is not in the loader's "
        f"figures; provenet verify {root} lists all, and then it is"
    )

"""Recognises published data sets by their manifests.

A published accuracy is that of the official images: a re-encoded or resized copy is another data set.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from data.catalog.formats import RAW
from data.catalog.manifest import Manifest

MAX_BROKEN = 0.001
"""Share of a split's images that may be broken: one in a thousand."""

IMAGENET_CLASSES = "791ce0333040dd249d13133f90d28ef0263ffc01e5de0afd85b3e32048d7d456"
"""SHA-256 of the 1,000 sorted synsets, joined by spaces."""
IMAGENET_IMAGES = {"train": 1_281_167, "val": 50_000}
IMAGENET_VAL_PER_CLASS = 50
IMAGENET_BYTES = {"train": 146.9e9, "val": 6.71e9}
"""Of all images. ILSVRC2012_img_train.tar has 147,897,477,120 bytes and ILSVRC2012_img_val.tar 6,744,924,160, of which
every image takes 512 for its header and, in the mean, 256 to fill its last block; each of the 1,000 archives within
the former takes 512 for a header and about 5,000 for its end."""
BYTES_WITHIN = 0.01
"""Share by which the bytes may differ; packed at 400 pixels, ImageNet takes less than a third."""

CIFAR_ROW = 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class _Cifar:
    classes: str
    """SHA-256 of their sorted names, joined by spaces."""
    per_class: Mapping[str, int]


CIFAR = {
    "cifar10": _Cifar(
        "66c673d653014822e808e1ae64eed32f350cb5c045d4cdd024378734afdd0dd8", {"train": 5_000, "val": 1_000}
    ),
    "cifar100": _Cifar("77827c4c023a75b4a96911073f98319342db3ba589d39f75bec28def799cfea8", {"train": 500, "val": 100}),
}


def recognise(train: Manifest, val: Manifest) -> str | None:
    """The published data set: imagenet-1k, cifar10, cifar100; None for any other, and for a copy with other pixels."""
    return _recognised(train, val)[0]


def why(train: Manifest, val: Manifest) -> str:
    """How the data set was recognised, or why it was not, for people."""
    return _recognised(train, val)[1]


def _recognised(train: Manifest, val: Manifest) -> tuple[str | None, str]:
    splits = {"train": train, "val": val}
    if train.classes != val.classes:
        return None, "train and val have other classes"
    digest = _digest(train.classes)
    if digest == IMAGENET_CLASSES:
        return _judged("imagenet-1k", _imagenet_problem(splits), "synsets, counts and bytes of the official archives")
    for name, kind in CIFAR.items():
        if digest == kind.classes:
            return _judged(name, _cifar_problem(splits, kind), "classes, counts and raw pixels of the official archive")
    synsets = all(re.fullmatch(r"n\d{8}", name) for name in train.classes)
    kind = "synsets, but not the 1,000 of ImageNet-1k" if synsets else "those of no published data set"
    return None, f"its {len(train.classes):,} classes are {kind}"


def _judged(name: str, problem: str | None, proof: str) -> tuple[str | None, str]:
    return (None, f"the classes of {name}, but {problem}") if problem else (name, proof)


def _imagenet_problem(splits: Mapping[str, Manifest]) -> str | None:
    for split, images in splits.items():
        total, expected = len(images) + len(images.broken), IMAGENET_IMAGES[split]
        if total != expected:
            return f"{split} has {total:,} images instead of {expected:,}"
        if len(images.broken) > MAX_BROKEN * expected:
            return f"{len(images.broken):,} images of {split} are broken"
    # of 50,000 images, at most 50 a class are 50 each, but for the broken ones
    if np.bincount(splits["val"].targets, minlength=len(splits["val"].classes)).max() > IMAGENET_VAL_PER_CLASS:
        return f"val has not {IMAGENET_VAL_PER_CLASS} images of each class"
    for split, images in splits.items():
        size, expected = int(images.sizes.sum()), IMAGENET_BYTES[split]
        if abs(size - expected) > BYTES_WITHIN * expected:
            return f"re-encoded: {split} has {size / 1e9:.2f} GB instead of {expected / 1e9:.2f}"
    return None


def _cifar_problem(splits: Mapping[str, Manifest], kind: _Cifar) -> str | None:
    for split, images in splits.items():
        if not bool((images.formats == RAW).all() and (images.sizes == CIFAR_ROW).all()):
            return f"re-encoded: {split} is not the raw pixels of the official archive"
        counts, expected = np.bincount(images.targets, minlength=len(images.classes)), kind.per_class[split]
        if images.broken or not (counts == expected).all():
            return f"{split} has not {expected:,} images of each class"
    return None


def _digest(classes: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(sorted(classes)).encode("utf-8", "surrogateescape")).hexdigest()

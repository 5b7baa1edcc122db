"""Manifests as those of the published data sets are, without an image."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from data.catalog.formats import JPEG, RAW
from data.catalog.manifest import Manifest
from tests.data.cifar_files import CLASSES10
from tests.data.making import imagined

Pair = tuple[Manifest, Manifest]


def synsets() -> tuple[str, ...]:
    timm = find_spec("timm")
    assert timm and timm.origin
    return tuple(sorted((Path(timm.origin).parent / "data/_info/imagenet_synsets.txt").read_text().split()))


def images(classes: tuple[str, ...], count: int, size: float, kind: int = JPEG) -> Manifest:
    """So many images of `size` bytes in the mean, dealt out to the classes."""
    lengths = np.full(count, size).astype(np.int64)
    made = imagined(lengths, lengths, len(classes))
    return replace(made, classes=classes, sizes=lengths, formats=lengths * 0 + kind)


def imagenet(classes: tuple[str, ...] | None = None) -> Pair:
    classes = classes or synsets()
    return images(classes, 1_281_167, 146.9e9 / 1_281_167), images(classes, 50_000, 6.71e9 / 50_000)


def cifar10(kind: int = RAW) -> Pair:
    return images(tuple(CLASSES10), 50_000, 3072, kind), images(tuple(CLASSES10), 10_000, 3072, kind)

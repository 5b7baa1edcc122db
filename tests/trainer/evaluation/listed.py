"""Lists of images that lie nowhere."""

from dataclasses import replace

import numpy as np

from data.catalog.manifest import Manifest
from tests.data.making import imagined


def listed(names: list[str]) -> Manifest:
    """Images CLASS/FILE, as a tree holds them."""
    names = sorted(names)
    classes = sorted({name.partition("/")[0] for name in names})
    encoded = [name.encode() for name in names]
    return replace(
        imagined(np.full(len(names), 50), np.full(len(names), 40)),
        classes=tuple(classes),
        targets=np.array([classes.index(name.partition("/")[0]) for name in names]),
        names=np.frombuffer(b"".join(encoded), np.uint8),
        ends=np.cumsum([len(name) for name in encoded]),
    )

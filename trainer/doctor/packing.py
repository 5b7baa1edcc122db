"""A few images as `provenet pack --resize` writes them."""

from pathlib import Path

import numpy as np

from data.formats import RAW
from data.listing import Entry, Listing
from data.manifest import Ints, Manifest
from data.pack import manifests, pack
from data.pack.record import PackOptions

IMAGES = 48
FOLDER = "packed"

_SIDE = 400 / 224  # what is usual for crops of 224 pixels, for others in proportion
_STEP = 16  # pixels
_LEAST_SIDE = 32  # pixels: `data pack` makes none smaller


def side_for(train_size: int, eval_resize: int) -> int:
    """Shorter side of copies that are still larger than what is cut from them, pixels."""
    return max(_LEAST_SIDE, eval_resize, -(-int(train_size * _SIDE) // _STEP) * _STEP)


def chosen(images: Manifest) -> Ints:
    """Rows of a few images, evenly over all."""
    return np.unique(np.linspace(0, len(images) - 1, min(IMAGES, len(images))).round().astype(np.int64))


def worthwhile(images: Manifest, rows: Ints, side: int) -> bool:
    """Whether some of the images are larger than the copies would be; raw pixels have nothing to be decoded."""
    small = np.minimum(images.widths[rows], images.heights[rows]) <= side
    return not (small.all() or (images.formats[rows] == RAW).any())


def write(images: Manifest, out: Path, side: int) -> Exception | None:
    """Pack the images, each of them once; what went wrong is given back."""
    entries = [Entry(int(images.targets[row]), images.name(row), *_place(images, row)) for row in range(len(images))]
    listing = Listing(images.root, images.classes, sorted(entries), images.archives)
    try:
        written = pack.write(listing, out, "train", PackOptions(resize=side), workers=1)
        manifests.write(out, "train", written.images, workers=1)
    except (OSError, ValueError, pack.TooManyBrokenSourcesError) as error:
        return error
    return None


def _place(images: Manifest, row: int) -> tuple[int, int, int]:
    if not images.archives:
        return -1, 0, -1
    return int(images.archive[row]), int(images.offsets[row]), int(images.sizes[row])

"""Manifests and trees that tests of the data room share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data.catalog import tree
from data.catalog.formats import JPEG, RGB
from data.catalog.listing import HASH_BYTES
from data.catalog.manifest import Manifest
from data.verify import verify

SIZES = [(64, 48), (48, 64), (50, 50), (301, 199), (133, 400), (49, 48), (20, 30), (200, 41)]  # up- and downscaled


def imagined(widths: np.ndarray, heights: np.ndarray, classes: int = 5) -> Manifest:
    """Images of given sizes that lie nowhere, for plans alone."""
    zeros = np.zeros(len(widths), np.int64)
    return Manifest(
        root=Path("/nowhere"),
        classes=tuple(map(str, range(classes))),
        archives=(),
        targets=np.sort(np.arange(len(widths)) % classes),
        widths=widths.astype(np.int64),
        heights=heights.astype(np.int64),
        sizes=zeros,
        mtimes=zeros,
        offsets=zeros,
        archive=zeros,
        formats=zeros + JPEG,
        modes=zeros + RGB,
        orientations=zeros,
        hashes=np.zeros((len(widths), HASH_BYTES), np.uint8),
        names=np.zeros(0, np.uint8),
        ends=zeros,
    )


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth shapes under fine grain: something that a wrong filter or an offset changes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 13, (height, width, 3))
    return Image.fromarray((np.asarray(coarse).astype(int) + grain).clip(0, 255).astype(np.uint8))


def varied_tree(root: Path) -> Path:
    """ROOT/train of 32 images, two classes: odd sizes, 4:4:4, turned by EXIF, greyscale, CMYK, PNG and palettes."""
    for name in ("a", "b"):
        (root / "train" / name).mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number, (width, height) in enumerate(SIZES * 4):
        image = picture(width, height, number)
        file = root / "train" / "ab"[number % 2] / f"{number:02}.JPEG"
        match number // len(SIZES), number % 2:
            case 0, _:
                image.save(file, "JPEG", quality=95)
            case 1, _:
                image.save(file, "JPEG", quality=90, subsampling=0, exif=turned)
            case 2, 0:
                image.save(file, "PNG")
            case 2, _:
                image.convert("L").save(file, "JPEG")
            case _, 0:
                image.convert("CMYK").save(file, "JPEG")
            case _:
                image.convert("P").save(file, "PNG")
    return root


def scanned(root: Path, split: str = "train") -> Manifest:
    """The manifest of a tree."""
    return verify.scan(tree.read(root / split).listing(), workers=1).manifest


COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200), (200, 40, 200), (20, 20, 20))


def tinted_tree(root: Path, names: Sequence[str], train: int, val: int, most: float = 0.4) -> Path:
    """Images tinted by their class, some so lightly that nobody could tell: learned in seconds, and never wholly.

    Args:
        root: Of the tree.
        names: Of up to seven classes.
        train: Images to train on.
        val: Images to evaluate.
        most: Greatest share of the colour in an image.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            width, height = rng.integers(36, 90, 2).tolist()
            solid = Image.new("RGB", (width, height), COLOURS[number % len(names)])
            image = Image.blend(picture(width, height, number + count), solid, rng.uniform(0, most))
            file = root / split / names[number % len(names)] / f"{number:04}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file, "JPEG", quality=90)
    return root

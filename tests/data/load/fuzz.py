"""Files of every format at hand, changed at random after they were listed, and what a loader makes of them.

`python -m tests.data.load.fuzz ROOT BACKEND SEED` prints JSON: how many are listed, and the rows
that were changed, are valid, and are broken.
"""

import json
import sys
import warnings
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np

from data.catalog.manifest import Manifest
from data.plan.config import InputConfig
from data.types import Backend
from tests.data.load.loading import eval_loader
from tests.data.making import picture, scanned

CONFIG = InputConfig(eval_resize=28, eval_crop=24)
FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("RGB", {}),
    "JPEG progressive": ("RGB", {"progressive": True}),
    "JPEG grey": ("L", {}),
    "JPEG of inks": ("CMYK", {}),
    "JPEG restarting": ("RGB", {"restart_marker_rows": 1}),
    "JPEG2000": ("RGB", {}),
    "PNG": ("RGB", {}),
    "PNG of a palette": ("P", {}),
    "PNG deep": ("I;16", {}),
    "WEBP": ("RGB", {}),
    "WEBP lossless": ("RGBA", {"lossless": True}),
    "AVIF": ("RGB", {}),
    "GIF": ("P", {}),
    "BMP": ("RGB", {}),
    "DIB": ("RGB", {}),
    "TIFF": ("RGB", {}),
    "TIFF packed": ("RGB", {"compression": "tiff_lzw"}),
    "TIFF of JPEG": ("RGB", {"compression": "jpeg"}),
    "DDS": ("RGBA", {}),
    "DDS packed": ("RGBA", {"pixel_format": "DXT5"}),
    "PPM": ("RGB", {}),
    "TGA": ("RGB", {"compression": "tga_rle"}),
    "ICO": ("RGBA", {"sizes": [(48, 40)]}),
    "SGI": ("RGB", {}),
    "PCX": ("RGB", {}),
    "QOI": ("RGB", {}),
    "IM": ("RGB", {}),
    "BLP": ("P", {}),
    "MSP": ("1", {}),
    "XBM": ("1", {}),
}
CHANGED = 6  # files of each format, beside as many that stay as they are


def make(root: Path, seed: int) -> tuple[Manifest, set[int]]:
    """Listed files, and the rows of those that were changed since."""
    rng = np.random.default_rng(seed)
    folder = root / "train" / "a"
    folder.mkdir(parents=True)
    for kind, (mode, options) in FORMATS.items():
        content = encoded(kind.split()[0], mode, options)
        for number in range(2 * CHANGED if content else 0):
            (folder / f"{kind} {number:02}").with_suffix(".JPEG").write_bytes(content)
    images = scanned(root)
    rows = {row for row in range(len(images)) if int(Path(images.name(row)).stem[-2:]) % 2}
    for row in rows:
        images.path(row).write_bytes(changed(images.path(row).read_bytes(), rng))
    return images, rows


def encoded(form: str, mode: str, options: dict[str, object]) -> bytes:
    """Empty where this Pillow does not write it."""
    stream = BytesIO()
    try:
        picture(48, 40, 0).convert("L" if mode == "I;16" else mode).convert(mode).save(stream, form, **options)
    except (KeyError, OSError, ValueError):
        return b""
    return stream.getvalue()


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Of the same size: some bytes, most of them in the first hundreds, a run of zeros or of noise, or what follows."""
    new = np.frombuffer(content, np.uint8).copy()
    reach = len(new) if rng.random() < 0.5 else min(len(new), 300)
    start = int(rng.integers(reach))
    match int(rng.integers(4)):
        case 0:
            new[rng.integers(0, reach, 8)] = rng.integers(0, 256, 8)
        case 1:
            new[start : start + 40] = 0
        case 2:
            new[start : start + 40] = rng.integers(0, 256, len(new[start : start + 40]))
        case _:
            new[start:] = 0
    return new.tobytes()


def survey(root: Path, backend: Backend, seed: int) -> tuple[int, set[int], set[int], set[int]]:
    """Images, and the rows that were changed, that are valid and that are broken in an evaluation."""
    images, rows = make(root, seed)
    with closing(eval_loader(backend, images, 32, CONFIG, max_broken=1.0)) as loader:
        batches = list(loader.epoch(0))
    valid = {int(row) for batch in batches for row in batch.indices[batch.valid]}
    names = {image.name for batch in batches for image in batch.broken}
    return len(images), rows, valid, {row for row in range(len(images)) if images.label(row) in names}


def main() -> None:
    root, backend, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    warnings.simplefilter("ignore")
    count, *rows = survey(root, "dali" if backend == "dali" else "threads", seed)
    sys.stdout.write(json.dumps([count, *map(sorted, rows)]))


if __name__ == "__main__":
    main()

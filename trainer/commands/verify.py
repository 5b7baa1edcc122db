"""`provenet verify`: flags, refusals and a table of the images. Loads numpy and Pillow only once there is work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from data.catalog.layout import Layout
from data.catalog.listing import SPLITS, manifest_file
from data.names import shown
from data.output_folder import dangling
from trainer.exits import note, refuse, resumable
from trainer.recipe.decode import range_problems
from trainer.terminal import write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data.catalog.dataset import DataSet
    from data.catalog.listing import Listing
    from data.catalog.manifest import Manifest

BROKEN = 1
MOST_NAMED = 20
PAIRS_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyCommand(Layout):
    """Decode every image once, and list what can be trained on.

    Writes manifest-train.npz and manifest-val.npz: each image's file, class, width, height, format, colour space, EXIF
    orientation and content hash. Training reads these lists instead of folders. Broken images are named with the
    reason, and left out in training. Images of val that train has too, byte for byte, are named. If interrupted, the
    same command continues. A later scan reads only files whose size or time has changed.

    Ends with 0 when every image decodes, with 1 when some are broken (the lists are written all the same),
    with 2 and nothing written on what no recipe can train on, such as a class that one split lacks.

    Example: provenet verify /imagenet --output ~/manifests
    """

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """Data set: ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG, or any that `provenet train --data` takes."""
    output: Path | None = None
    """Folder of the lists, made where there is none. None: ROOT."""
    workers: int | Literal["auto"] = "auto"
    """Processes that decode, 1 to 256; auto: one for each CPU core that this process may use."""
    quiet: bool = False
    """Show no progress: only results, warnings and errors."""

    def run(self) -> int:
        """Scan both splits and print what they hold."""
        return resumable(self._run)

    def _run(self) -> int:
        from data.catalog import checks, dataset
        from data.workers import bad_workers, number
        from trainer.terminal import counting, show

        data = dataset.find(self.root, self)
        if problems := [*bad_workers(number(self.workers)), *range_problems(self, flags=True)]:
            return refuse(problems)
        if reason := data.misplaced():
            return refuse([f"ROOT: {reason}"])
        try:
            listings = data.listings(counting, note)  # both, before one is scanned for an hour
        except ValueError as error:
            return refuse(f"ROOT: {error}".splitlines())
        if problems := checks.problems(*(listing.contents() for listing in listings)):
            return refuse([f"ROOT: {problem}" for problem in problems])
        if problem := self._unwritable():
            return refuse([problem])
        scans = [self._scan(data, split, listing) for split, listing in zip(SPLITS, listings, strict=True)]
        show(["", *SPLITS], _table(scans))
        lines = [*_broken(scans), *_clipped(scans), *_duplicates(*scans)]
        lines.append(f"listed in {self._file('train')} and {self._file('val')}")
        write("".join(f"{line}\n" for line in lines))
        return BROKEN if any(scan.manifest.broken for scan in scans) else 0

    def _unwritable(self) -> str | None:
        folder = self.output or self.root
        if links := dangling(folder):
            return links[0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return None
        except OSError as error:
            return f"--output: {folder}: {error.strerror}; name a folder that can be written"

    def _scan(self, data: DataSet, split: str, listing: Listing) -> _Scan:
        from data.catalog.dataset import journal_file
        from data.verify import verify
        from data.workers import number
        from trainer.terminal import counting

        start, journal = monotonic(), journal_file(self._file(split).parent, split)
        workers, known = number(self.workers), self._known(data, split)
        with counting(f"verify {split}", "images") as progress:
            scan = verify.scan(listing, known=known, journal=journal, workers=workers, progress=progress)
        scan.manifest.save(self._file(split))
        journal.unlink()
        return _Scan(scan.manifest, scan.read, monotonic() - start)

    def _known(self, data: DataSet, split: str) -> Manifest | None:
        from data.catalog.manifest import DamagedManifestError

        try:
            return data.manifest(self._file(split).parent, split) if self._file(split).exists() else None
        except DamagedManifestError as error:
            note(f"{error}: every image of {split} is read again")
            return None

    def _file(self, split: str) -> Path:
        return manifest_file(self.output or self.root, split)


class _Scan(NamedTuple):
    manifest: Manifest
    read: int
    """Images that were read; the others had not changed since an earlier scan."""
    seconds: float


def _volume(scan: _Scan) -> str:
    sizes = scan.manifest.sizes
    return f"{sizes.sum() / 1e6:,.1f} MB" + (f", {sizes.mean() / 1e3:,.1f} KB each" if len(sizes) else "")


def _range(values: NDArray[np.int64]) -> str:
    return f"{values.min():,} / {values.mean():,.0f} / {values.max():,} px" if len(values) else "-"


def _counts(numbers: NDArray[np.int64], names: tuple[str, ...]) -> str:
    """Each name with its count, the most frequent first."""
    counts = [(name, (numbers == number).sum()) for number, name in enumerate(names)]
    counts.sort(key=lambda pair: -pair[1])
    return ", ".join(f"{name} {count:,}" for name, count in counts if count) or "-"


def _effort(scan: _Scan) -> str:
    total = len(scan.manifest) + len(scan.manifest.broken)
    if not scan.read:
        return f"none, unchanged since the last time ({scan.seconds:.1f} s)"
    return f"{scan.read:,} of {total:,} in {scan.seconds:.1f} s, {scan.read / max(scan.seconds, 1e-3):,.0f} images/s"


def _table(scans: Sequence[_Scan]) -> list[list[str]]:
    from data.catalog.formats import FORMATS, MODES
    from data.verify.findings import repeated

    rows: dict[str, Callable[[_Scan], str]] = {
        "usable images": lambda scan: f"{len(scan.manifest):,}",
        "broken images": lambda scan: f"{len(scan.manifest.broken):,}",
        "classes": lambda scan: f"{len(scan.manifest.classes):,}",
        "volume": _volume,
        "width, least / mean / most": lambda scan: _range(scan.manifest.widths),
        "height, least / mean / most": lambda scan: _range(scan.manifest.heights),
        "formats": lambda scan: _counts(scan.manifest.formats, FORMATS),
        "colour spaces": lambda scan: _counts(scan.manifest.modes, MODES),
        "turned by EXIF, which training ignores": lambda scan: f"{(scan.manifest.orientations > 1).sum():,}",
        "copies of an image of the same split": lambda scan: f"{repeated(scan.manifest):,}",
        "read now": _effort,
    }
    return [[title, *map(fact, scans)] for title, fact in rows.items()]


def _broken(scans: Sequence[_Scan]) -> list[str]:
    named = [
        f"  {shown(scan.manifest.root / image.name)}: {image.reason}"
        for scan in scans
        for image in scan.manifest.broken
    ]
    return _some("broken; training leaves them out if they are no more than its --max-broken:", named, MOST_NAMED)


def _clipped(scans: Sequence[_Scan]) -> list[str]:
    from data.catalog.formats import DEEP

    deep = [
        (scan.manifest, row) for scan in scans for row, mode in enumerate(scan.manifest.modes.tolist()) if mode in DEEP
    ]
    named = [f"  {images.label(row)}" for images, row in deep]
    what = "greys of more than 8 bits are cut to whole numbers from 0 to 255, as in torchvision"
    return _some(f"warning: {what}: {len(named):,}", named, PAIRS_NAMED)


def _duplicates(train: _Scan, val: _Scan) -> list[str]:
    from data.verify.findings import duplicates

    pairs = duplicates(train.manifest, val.manifest)
    named = [f"  {val.manifest.label(theirs)} is {train.manifest.label(ours)}" for ours, theirs in pairs]
    return _some(f"images of val that are in train too: {len(pairs):,}", named, PAIRS_NAMED)


def _some(title: str, named: list[str], most: int) -> list[str]:
    more = [f"  and {len(named) - most:,} more"] if len(named) > most else []
    return [title, *named[:most], *more] if named else []

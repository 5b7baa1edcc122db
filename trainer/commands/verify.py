"""`provenet verify`: its flags and its refusals. Loads numpy and Pillow only once there is work."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from trainer.commands.resumable import resumable
from trainer.exits import refuse

if TYPE_CHECKING:
    from data.catalog.listing import Listing
    from data.catalog.manifest import Manifest
    from trainer.commands.verify_summary import Scanned

BROKEN = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyCommand:
    """Decode every image once, and list what can be trained on.

    Writes manifest-train.npz and manifest-val.npz: each image's place, class, width, height, format, colour space,
    EXIF orientation and content hash. Training reads these lists and no folders. Broken images are named with the
    reason, and left out in training. Images of val that train has too, byte for byte, are named. Interrupted, the same
    command goes on where it stopped. Done again later, it reads only files whose size or time has changed.

    Ends with 0 when every image decodes, with 1 when some are broken (the lists are written all the same).

    Example: provenet verify /imagenet --output ~/manifests
    """

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """Data set: ROOT/train/<class>/*.JPEG and ROOT/val/<class>/*.JPEG, or tar shards, or CIFAR's folder."""
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
        from data.catalog import dataset
        from trainer.commands import verify_summary

        if problem := self._problem():
            return refuse([problem])
        try:
            listings = {split: self._listing(split) for split in dataset.SPLITS}
        except ValueError as error:
            return refuse(f"ROOT: {error}".splitlines())
        if problem := self._unwritable():
            return refuse([problem])
        train, val = (self._scan(split, listing) for split, listing in listings.items())
        sys.stdout.write(verify_summary.text(train, val))
        sys.stdout.write(f"listed in {self._file('train')} and {self._file('val')}\n")
        return BROKEN if train.manifest.broken or val.manifest.broken else 0

    def _problem(self) -> str | None:
        from data.catalog import cifar, tree
        from data.workers import bad_workers, number

        if problems := bad_workers(number(self.workers)):
            return problems[0]
        reason = None if cifar.found(self.root) else tree.misplaced(self.root)
        return f"ROOT: {reason}" if reason else None

    def _listing(self, split: str) -> Listing:
        """Where the images lie; both splits are listed before one is scanned, which may take long.

        Raises:
            ValueError: There are none, or they cannot be listed.
        """
        from data.catalog import dataset
        from trainer.terminal import counting

        with counting(f"listing {split}", "classes") as progress:
            listing = dataset.listing(self.root, split, progress)
        if not listing.entries:
            raise ValueError(f"{listing.root} holds no image; expected {listing.root}/<class>/*.JPEG")
        return listing

    def _unwritable(self) -> str | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self._folder):
                return None
        except OSError as error:
            return f"--output: {self._folder}: {error.strerror}; name a folder that can be written"

    def _scan(self, split: str, listing: Listing) -> Scanned:
        from data.catalog import dataset
        from data.verify import verify
        from data.workers import number
        from trainer.commands.verify_summary import Scanned
        from trainer.terminal import counting

        start, journal = monotonic(), dataset.journal_file(self._folder, split)
        workers = number(self.workers)
        known = self._known(split)
        with counting(f"verify {split}", "images") as progress:
            survey = verify.survey(listing, known=known, journal=journal, workers=workers, progress=progress)
        survey.manifest.save(self._file(split))
        journal.unlink()
        return Scanned(split, survey.manifest, survey.read, monotonic() - start)

    def _known(self, split: str) -> Manifest | None:
        from data.catalog import dataset
        from data.catalog.manifest import DamagedManifestError

        try:
            return dataset.load(self._folder, self.root, split) if self._file(split).exists() else None
        except DamagedManifestError as error:
            sys.stderr.write(f"{error}: every image of {split} is read again\n")
            return None

    @property
    def _folder(self) -> Path:
        return self.output or self.root

    def _file(self, split: str) -> Path:
        from data.catalog.listing import manifest_file

        return manifest_file(self._folder, split)

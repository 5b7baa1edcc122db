"""What lies at the path that `--data` names: an image tree, tar shards or CIFAR's pickles. Loads no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.catalog import checks, cifar, manifest, shards, tree
from data.catalog.cifar import CifarError, Pickles
from data.catalog.listing import SPLITS, Contents, Listing, manifest_file
from data.catalog.manifest import DamagedManifestError, Manifest
from data.types import Progress, Watch, unwatched


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as `find` saw it: an image tree, but for what the fields say."""

    root: Path
    pickles: tuple[Pickles, ...] = ()
    """CIFAR-10, CIFAR-100, or both; then nothing else counts."""
    sharded: frozenset[str] = frozenset()
    """Splits that are tar shards."""

    def archived(self, split: str) -> bool:
        """Whether a split's images lie in archives."""
        return bool(self.pickles) or split in self.sharded

    def folder(self, split: str) -> Path:
        """Folder that the names in a split's manifest are relative to.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
        """
        return cifar.only(self.root, self.pickles).folder if self.pickles else self.root / split

    def listing(self, split: str, progress: Progress = unwatched) -> Listing:
        """Where the images of a split lie; `progress` counts the classes of a tree.

        Raises:
            ValueError: An archive is not as it should be, or a file or folder cannot be read; the message names it.
        """
        try:
            if self.pickles:
                return cifar.listing(cifar.only(self.root, self.pickles), split)
            if split in self.sharded:
                return shards.listing(self.root, split)
            return tree.listing(self.root, split, progress)
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from None

    def listings(self, watch: Watch, say: Callable[[str], object]) -> list[Listing]:
        """Those of both splits, as `listing` gives them; `watch` shows the progress of each, `say` gets their notes."""
        listings: list[Listing] = []
        for split in SPLITS:
            with watch(f"listing {split}", "classes") as progress:
                listings.append(self.listing(split, progress))
            for line in listings[-1].notes:
                say(line)
        return listings

    def manifest(self, stored: Path, split: str) -> Manifest:
        """The manifest of a split that the folder `stored` holds.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
            DamagedManifestError: It is no manifest of this version.
            OSError: It cannot be read.
        """
        return manifest.load(manifest_file(stored, split), self.folder(split))

    def misplaced(self) -> str | None:
        """Why `root` is not the folder of a data set, for the user; None where it may be one."""
        return None if self.pickles else tree.misplaced(self.root)

    def glance(self, split: str, most: int) -> Contents | None:
        """What a split of a tree holds, at most so many images counted; None for archives, which take long to read.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
            OSError: A folder cannot be read.
        """
        if not self.archived(split):
            return tree.read(self.root, split).contents(most)
        self.folder(split)  # which raises where there are two
        return None

    def problems(self, run: Path, lists: Path, num_classes: int, global_batch: int) -> list[str]:
        """Why these images cannot be trained on, one line each, for the user; archives without manifests are not read.

        The manifests may lie in the folder `run`, which holds few images of a trial and was checked when it began, or
        in the folder `lists`.
        """
        begun = has_manifests(run)
        listed = begun or has_manifests(lists)
        if not (listed and self.root.is_dir()) and (reason := self.misplaced()):
            return [f"--data: {reason}"]
        check, stored = (checks.misfits, run) if begun else (checks.all_problems, lists)
        try:
            seen = (
                self.manifest(stored, one).contents() if listed else self.glance(one, global_batch) for one in SPLITS
            )
            train, val = seen
        except (DamagedManifestError, CifarError) as error:
            return [f"--data: {error}"]
        return check(train, val, num_classes, global_batch) if train and val else []


def find(root: Path) -> DataSet:
    """Look once at what lies at a path, which need not exist."""
    return DataSet(root, cifar.find(root), frozenset(split for split in SPLITS if shards.exist(root, split)))


def journal_file(folder: Path, split: str) -> Path:
    """Where a scan saves its progress until the manifest in the same folder is complete."""
    return folder / f".manifest-{split}.journal"


def has_manifests(folder: Path) -> bool:
    """Whether those of both splits lie there."""
    return all(manifest_file(folder, split).exists() for split in SPLITS)

"""What lies at the path that `--data` names: image files, tar shards or CIFAR's pickles. Loads no torch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.catalog import checks, cifar, label_file, layout, manifest, shards, tree
from data.catalog.cifar import Pickles
from data.catalog.layout import NONE, Layout
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
    layout: Layout = NONE
    """What the user has said of it."""
    folders: dict[str, Path] = field(default_factory=dict[str, Path])
    """Folders of splits that are not ROOT/<split>."""
    labels: dict[str, Path] = field(default_factory=dict[str, Path])
    """Files that say the classes of a split's images."""

    def archived(self, split: str) -> bool:
        """Whether a split's images lie in archives."""
        return bool(self.pickles) or split in self.sharded

    def folder(self, split: str) -> Path:
        """Folder that the names in a split's manifest are relative to.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
        """
        return (
            cifar.only(self.root, self.pickles).folder if self.pickles else self.folders.get(split, self.root / split)
        )

    def listing(self, split: str, progress: Progress = unwatched) -> Listing:
        """Where the images of a split lie; `progress` counts the classes of a tree.

        Raises:
            ValueError: An archive is not as it should be, or a file or folder cannot be read; the message names it.
        """
        share = self.layout.val_share
        try:
            images = self._listed("train" if share else split, progress)
            images = layout.part(images, share, split) if share else images
            chosen = [f"{split} is {self.folder(split)}"] if split in self.folders and not share else []
            return replace(images, rule=self.rule(split), notes=(*chosen, *images.notes))
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from None

    def rule(self, split: str) -> str:
        """What decides which images a split has, and of which classes, for people; empty for ROOT/<split>/<class>/.

        Raises:
            OSError: The file of labels cannot be read.
        """
        labels, share, folder = self.labels.get(split), self.layout.val_share, self.folders.get(split)
        val_split = self.layout.val_split if split == "val" else None  # whose last part may be another's, too
        name = folder and ("." if folder == self.root else Path(val_split or folder.name).as_posix())
        parts = [f"folder {name}"] if name and name != split else []
        parts += [f"labels {hashlib.sha256(labels.read_bytes()).hexdigest()[:16]}"] if labels else []
        return ", ".join([*parts, *([f"--val-share {share}"] if share and not self.pickles else [])])

    def _listed(self, split: str, progress: Progress) -> Listing:
        folder = self.folder(split)
        if self.pickles:
            return cifar.listing(cifar.only(self.root, self.pickles), split)
        if split in self.labels:
            return label_file.listing(folder, self.labels[split])
        if split in self.sharded:
            return shards.listing(self.root, split, folder)
        return tree.read(folder).listing(progress)

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
            DamagedManifestError: It is no manifest of this version, or of another layout.
            OSError: It cannot be read.
        """
        file, ours = manifest_file(stored, split), self.rule(split)
        images = manifest.load(file, self.folder(split))
        if images.rule != ours:
            theirs = images.rule or f"folder {split}"
            remedy = "give the flags and files that it was made with, or let `provenet verify` list the images again"
            raise DamagedManifestError(f"{file} is of {theirs}, but asked for is {ours or f'folder {split}'}; {remedy}")
        return images

    def misplaced(self) -> str | None:
        """Why `root` is not the folder of a data set, for the user; None where it may be one."""
        folders = () if self.pickles else tuple(map(self.folder, SPLITS))
        return self.misread() or (tree.misplaced(self.root, folders) if folders else None)

    def misread(self) -> str | None:
        """Why the layout that the user has said is not that of `root`, for the user; None where it may be."""
        if not self.pickles:
            return self.layout.problem(self.root, self.folder("val"))
        return (
            None if self.layout == NONE else f"{self.root} is CIFAR, with splits and classes of its own; leave them out"
        )

    def glance(self, split: str, most: int) -> Contents | None:
        """What a split of a tree holds, at most so many images counted; None for archives, which take long to read.

        Raises:
            CifarError: CIFAR-10 and CIFAR-100 are there.
            OSError: A folder cannot be read.
        """
        if split in self.labels:
            return self.listing(split).contents()
        if not self.archived(split):
            return tree.read(self.folder(split)).contents(most)
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
        except ValueError as error:
            return [f"--data: {error}"]
        return check(train, val, num_classes, global_batch) if train and val else []


def find(root: Path, flags: Layout = NONE) -> DataSet:
    """Look once at what lies at a path, which need not exist; `flags` say what the folders do not."""
    said, pickles = layout.chosen(flags), cifar.find(root)
    folders, labels = ({}, {}) if pickles else layout.places(root, said)
    whole = dict.fromkeys(SPLITS, "train") if said.val_share else {split: split for split in SPLITS}
    sharded = [split for split in SPLITS if shards.exist(root, whole[split], folders.get(split, root / split))]
    return DataSet(root, pickles, frozenset(sharded), said, folders, labels)


def journal_file(folder: Path, split: str) -> Path:
    """Where a scan saves its progress until the manifest in the same folder is complete."""
    return folder / f".manifest-{split}.journal"


def has_manifests(folder: Path) -> bool:
    """Whether those of both splits lie there."""
    return all(manifest_file(folder, split).exists() for split in SPLITS)

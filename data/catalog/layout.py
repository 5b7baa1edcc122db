"""Where the images of each split lie, in the layouts that people have. Standard library only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from pathlib import Path

from data.catalog.listing import SPLITS, Entry, Listing, digest
from data.catalog.tree import level

VALS = ("val", "valid", "validation", "test")
KAGGLE = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
KAGGLE_LABELS = "LOC_val_solution.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a data set's folders do not say. It decides which images are trained on: a run goes on with the same."""

    train_labels: Path | None = None
    """CSV or text file with a line for each training image and its class. None: class folders."""
    val_labels: Path | None = None
    """The same for the validation images. None: class folders, or Kaggle's LOC_val_solution.csv."""
    val_split: str | None = None
    """Folder in DATA to evaluate on. None: the first of val, valid, validation and test."""
    val_share: float | None = field(default=None, metadata={"above": 0, "max": 0.5})
    """Share of the images of each class to evaluate on, drawn by a hash of their names, if there is no such folder."""

    def label_files(self) -> dict[str, Path]:
        """Files of labels by split."""
        files = {"train": self.train_labels, "val": self.val_labels}
        return {split: file for split, file in files.items() if file}

    def problem(self, root: Path, val: Path) -> str | None:
        """Why these choices cannot be made at `root` with that folder to evaluate on, for the user; None: they can."""
        for split, file in self.label_files().items():
            if not file.is_file():
                return (
                    f"--{split}-labels: {file} is no file; name a CSV or text file with lines of an image and its class"
                )
        if self.val_split and not val.is_dir():
            return f"--val-split: {val} is no folder; name the one beside train to evaluate on"
        if self.val_share:
            flags = [name for name in ("val_labels", "val_split") if getattr(self, name)]
            others = ["--" + name.replace("_", "-") for name in flags] or sorted(filter(_is_split, root.glob("[!.]*")))
            return f"--val-share: {others[0]} says what to evaluate on; leave one of them out" if others else None
        return None


NONE = Layout()


def chosen(layout: Layout) -> Layout:
    """The choices alone, of a larger set of flags."""
    return Layout(**{each.name: getattr(layout, each.name) for each in fields(Layout)})


def places(root: Path, layout: Layout) -> tuple[dict[str, Path], dict[str, Path]]:
    """By split, the folder where it is not ROOT/<split>, and the file of labels where there is one."""
    from data.catalog import shards  # loads tarfile and more, which commands' flags do without

    base = next((root / inner for inner in KAGGLE if (root / inner / "train").is_dir()), root)
    is_one = bool(layout.train_labels or layout.val_share or shards.exist(root, "train", root))
    train = base if is_one and not (base / "train").is_dir() else base / "train"
    named = [layout.val_split] if layout.val_split else [name for name in VALS if (base / name).is_dir()]
    val = base / named[0] if named else base if layout.val_labels or shards.exist(root, "val", root) else base / "val"
    folders = {"train": train, "val": train if layout.val_share else val}
    labels = layout.label_files()
    if layout.val_share:
        labels = {split: layout.train_labels for split in SPLITS if layout.train_labels}
    elif "val" not in labels and (file := _kaggle_labels(base, folders["val"])):
        labels["val"] = file
    return {split: folder for split, folder in folders.items() if folder != root / split}, labels


def _is_split(folder: Path) -> bool:
    """Whether it is one to evaluate on: images alone are a class of that name, or have no labels, as Kaggle's tests."""
    is_named = folder.name.lower() in (*VALS, "testing") and folder.is_dir()
    return is_named and (any(is_folder for _, is_folder in level(folder)) or any(folder.glob("*.tar")))


def _kaggle_labels(base: Path, val: Path) -> Path | None:
    """Kaggle's file for validation images that lie in one folder."""
    above = base.absolute()
    file = next((file for each in (above, *above.parents[:3]) if (file := each / KAGGLE_LABELS).is_file()), None)
    return file if file and val.is_dir() and not any(is_folder for _, is_folder in level(val)) else None


def part(whole: Listing, share: float, split: str) -> Listing:
    """The images of a split of a data set that has none: where each belongs follows from its name alone.

    But for classes of few images: each keeps one to train on and, of two or more, has one to evaluate on.
    """
    mine = [entry for held, entry in _held_out(whole.entries, share) if held == (split == "val")]
    note = f"{split} is {len(mine):,} of the {len(whole.entries):,} images of {whole.root}, by --val-share {share}"
    return replace(whole, entries=mine, notes=(*whole.notes, note))


def _held_out(entries: list[Entry], share: float) -> Iterator[tuple[bool, Entry]]:
    for _, group in groupby(entries, key=lambda entry: entry.target):
        images = list(group)
        draws = [int.from_bytes(digest(os.fsencode(image.name))[:8]) / 2**64 for image in images]
        count = min(max(sum(draw < share for draw in draws), 1), len(images) - 1)
        limit = sorted(draws)[count]
        yield from ((draw < limit, image) for draw, image in zip(draws, images, strict=True))

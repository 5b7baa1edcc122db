"""The right classes of each image, by the network's class numbers. Loads no torch."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from data import schema
from data.catalog.manifest import Manifest
from models import class_names
from models.class_names import IMAGENET, REAL

VAL_IMAGES = 50_000
_NUMBERED = re.compile(r"_val_(\d{8})")  # ILSVRC2012_val_00000001.JPEG

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class UnknownLabelsError(ValueError):
    """Labels that do not fit the network or the images; the message says how, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The right classes of N images."""

    name: str
    """val, real, or the name of the folder or file."""
    targets: Ints
    """(N,) class number of the image's folder."""
    names: Mapping[int, str]
    """Folders of the classes, by class number."""
    columns: Ints
    """(K,) rising numbers of the classes that have images; the logits of all others are ignored."""
    num_classes: int
    """Of the network."""
    accepted: Sequence[frozenset[int]]
    """For each image all right classes; an image without any is left out."""
    assumption: str | None = None
    """How the folders were matched with the classes, for the user, where no name decides it."""

    @property
    def words(self) -> str:
        """Name of the labels and number of classes, for the console."""
        some = (
            f", {len(self.columns):,} of {self.num_classes:,} classes" if len(self.columns) < self.num_classes else ""
        )
        return f"{self.name} labels{some}"

    def judged(self) -> Flags:
        """(N,) images that have a right answer."""
        return np.array([bool(right) for right in self.accepted])

    def right(self, answers: Ints) -> Flags:
        """(N, k) which of the network's k answers to each image are right."""
        rows = [[answer in right for answer in row] for row, right in zip(answers.tolist(), self.accepted, strict=True)]
        return np.array(rows, bool).reshape(answers.shape)


def of(
    images: Manifest, folder: str, num_classes: int, names: tuple[str, ...] | None, *, guessed: bool = False
) -> Labels:
    """Labels from the images' folders.

    Args:
        images: What is evaluated.
        folder: Name of the set.
        num_classes: Length of a row of logits.
        names: The network's classes in their order, where they are known.
        guessed: They are ImageNet's by their number alone.

    Raises:
        UnknownLabelsError: The folders are other classes than the network's, or their order is not known.
    """
    matched, assumption = _numbers(images, num_classes, names, guessed=guessed)
    numbers = np.array(matched, np.int64)
    targets = numbers[images.targets]
    return Labels(
        name=folder,
        targets=targets,
        names=dict(zip(numbers.tolist(), images.classes, strict=True)),
        columns=np.sort(numbers),
        num_classes=num_classes,
        accepted=[frozenset({target}) for target in targets.tolist()],
        assumption=assumption,
    )


def with_file(labels: Labels, images: Manifest, source: str) -> Labels:
    """Labels from a file in place of the folders: ReaL's, or a file that maps names of images to classes.

    Args:
        labels: The folders'.
        images: What is evaluated.
        source: `real` for those that come with timm, or a JSON file: a list of lists of classes in the order of
            ImageNet's 50,000 validation images, or an object from an image's file name, or its path below
            the split, to a class or a list of them.

    Raises:
        UnknownLabelsError: The file cannot be read, or does not speak of these images.
    """
    content = class_names.real_labels() if source == REAL else _content(Path(source))
    accepted = (
        _by_name(content, images, source) if isinstance(content, Mapping) else _by_number(content, images, source)
    )
    least, most = min(map(min, filter(None, accepted)), default=0), max(map(max, filter(None, accepted)), default=0)
    if least < 0 or most >= labels.num_classes:
        strange = least if least < 0 else most
        raise UnknownLabelsError(f"--labels {source}: names class {strange}; the network has {labels.num_classes:,}")
    if not any(accepted):
        raise UnknownLabelsError(f"--labels {source}: gives none of these images a class")
    # a name that no other labels have, whatever the file is called
    file = Path(source)
    name = REAL if source == REAL else f"file:{file.stem}-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}"
    # the file may call any class right, so that every answer counts
    return replace(labels, name=name, columns=np.arange(labels.num_classes), accepted=accepted)


def _numbers(
    images: Manifest, num_classes: int, names: tuple[str, ...] | None, *, guessed: bool
) -> tuple[list[int], str | None]:
    """The class number of each folder, and what was assumed."""
    folders = images.classes
    if names and set(folders) <= set(names):
        number_of = {name: number for number, name in enumerate(names)}
        return [number_of[folder] for folder in folders], None
    is_numbered = all(folder.isdecimal() for folder in folders) and max(map(int, folders)) < num_classes
    if is_numbered and not {*folders} & {*(names or ())}:  # of names that are numbers, some would be others
        numbers = [int(folder) for folder in folders]  # ImageNet-V2 has the numbers themselves
        if (names is None or guessed) and numbers != _as_sorted(folders, num_classes):
            raise UnknownLabelsError(
                f"--data: {images.root} has classes named by numbers, such as {folders[-1]}, and the weights name "
                "none: sorted as text, as in training, they have another order than as numbers. Evaluate the run "
                "directory, or name the network's classes by --classes"
            )
        return numbers, "class folders are read as the numbers of the network's classes"
    if names is None and len(folders) == num_classes:
        return list(range(num_classes)), "the weights name no classes: class folders are assumed to be in sorted order"
    unknown = [folder for folder in folders if names is None or folder not in names]
    known = f"such as {', '.join(names[:3])}" if names else f"{num_classes:,} that it does not name"
    raise UnknownLabelsError(
        f"--data: {images.root} has {len(folders):,} classes, among them {', '.join(unknown[:3])}; the network's are "
        f"others, {known}"
    )


def _as_sorted(folders: Sequence[str], num_classes: int) -> list[int]:
    """The class numbers if the network was trained on folders of such names, of which these may be some."""
    width = min(map(len, folders))
    every = folders if len(folders) == num_classes else sorted(f"{number:0{width}}" for number in range(num_classes))
    number_of = {name: number for number, name in enumerate(every)}
    return [number_of.get(folder, -1) for folder in folders]


def named(source: str, num_classes: int) -> tuple[str, ...]:
    """The network's classes in the order of its logits, as `--classes` names them.

    Args:
        source: `imagenet`, or a text file with a name a line.
        num_classes: Length of a row of logits.

    Raises:
        UnknownLabelsError: The file cannot be read, or names another number of classes.
    """
    try:
        text = None if source == IMAGENET else Path(source).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UnknownLabelsError(f"--classes: {source}: {error.strerror}") from None
    names = class_names.wnids() if text is None else tuple(text.splitlines())
    if len(set(names)) != num_classes:
        raise UnknownLabelsError(
            f"--classes: {source} names {len(set(names)):,} classes; the network has {num_classes:,}"
        )
    return names


def _content(file: Path) -> Any:
    try:
        return schema.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no JSON: {error}"
        raise UnknownLabelsError(f"--labels: {file}: {reason}") from None


def _by_number(content: Any, images: Manifest, source: str) -> list[frozenset[int]]:
    if not isinstance(content, list) or len(cast("list[Any]", content)) != VAL_IMAGES:
        raise UnknownLabelsError(f"--labels {source}: expected a list of {VAL_IMAGES:,} lists of classes, or an object")
    accepted = list[frozenset[int]]()
    for row in range(len(images)):
        match = _NUMBERED.search(images.name(row))
        if not match or not 1 <= int(match[1]) <= VAL_IMAGES:
            raise UnknownLabelsError(
                f"--labels {source}: goes by the numbers in the names of ImageNet's validation images, "
                f"ILSVRC2012_val_..., and {images.label(row)} has none"
            )
        accepted.append(_classes(cast("list[Any]", content)[int(match[1]) - 1], source))
    return accepted


def _by_name(content: Mapping[str, Any], images: Manifest, source: str) -> list[frozenset[int]]:
    """Look up each image by its file name or, where the keys are paths, by its path below the split."""
    paths = [images.name(row) for row in range(len(images))]
    names = [Path(path).name for path in paths]
    keys = paths if paths[0] in content else names
    lacking = [key for key in keys if key not in content]
    if lacking:
        raise UnknownLabelsError(f"--labels {source}: says nothing of {len(lacking):,} images, such as {lacking[0]}")
    if len(set(keys)) < len(keys):
        twice = next(key for key, times in Counter(keys).items() if times > 1)
        raise UnknownLabelsError(
            f"--labels {source}: several images are called {twice}; name them by their paths, as {paths[0]}"
        )
    return [_classes(content[key], source) for key in keys]


def _classes(value: Any, source: str) -> frozenset[int]:
    many = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not all(isinstance(one, int) for one in many):
        raise UnknownLabelsError(f"--labels {source}: {value!r} is no class and no list of classes, which are numbers")
    return frozenset(many)

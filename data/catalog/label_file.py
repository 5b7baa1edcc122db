"""Images whose classes a file says: CSV, or text with a line `IMAGE CLASS` for each. Standard library only."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from data.catalog import tree
from data.catalog.listing import Entry, Listing
from data.output_folder import some

CLASS_WORDS = ("label", "class", "class_name", "label_name", "target", "category", "species")
BOXES = re.compile(r"(\S+)(?: -?\d+){4}(?: .*)?")  # Kaggle's LOC_val_solution.csv: a class and its boxes
EXPECTED = "expected a CSV or text file with an image and its class on each line"


def listing(folder: Path, file: Path) -> Listing:
    """The images below a folder that a file gives a class.

    Raises:
        ValueError: The file is not as it should be; the message names it.
        OSError: It or a folder cannot be read.
    """
    names, notes = tree.files(folder)
    index, rows = _Index(folder, names), _rows(file)
    width = len(rows[0])
    named = [[index.find(row[column]) for row in rows] for column in range(width)]
    scores = [(len({*each} - {None}), sum(tree.is_image(row[at]) for row in rows)) for at, each in enumerate(named)]
    image, *others = [column for column in range(width) if scores[column] == max(scores)]
    if not any(named[image]):
        raise ValueError(f"{file}: names no image below {folder}: {', '.join(rows[-1])[:80]!r}; {EXPECTED}")
    if any(named[column] != named[image] for column in others):  # as numbers of lines and numbers of images
        asked = some([rows[0][column] for column in (image, *others)])
        raise ValueError(f"{file}: which of the columns {asked} is the image? leave only it and the class")
    header = [*map(str, range(1, width + 1))] if named[image][0] else rows[0]
    pairs = [(name, row) for name, row in zip(named[image], rows, strict=True) if name]
    label = _class_column(file, header, [row for _, row in pairs], image)
    classes = _classes(file, [(name, row[label]) for name, row in pairs])
    numbers = {name: target for target, name in enumerate(sorted(set(classes.values())))}
    entries = sorted(Entry(numbers[name], path) for path, name in classes.items())
    what = f"images by column {header[image]}, classes by column {header[label]}"
    absent = len(rows) - len(pairs) - (header is rows[0])
    left = [f"{absent:,} lines name no image below {folder}"] if absent else []
    left += [f"{len(names) - len(entries):,} images there are not named"] if len(names) > len(entries) else []
    notes = (*notes, "; ".join([f"{file}: {what}", *left]))
    return Listing(folder, tuple(numbers), entries, notes=notes)


class _Index:
    """Images of a folder by the names that a file may give them."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._above, self._prefix = f"{folder.absolute().parent}/", f"{folder.absolute().name}/"
        self._names: dict[str, str | None] = {}
        for name in names:
            stem, file = name.rpartition(".")[0], name.rpartition("/")[2]
            for key in {stem, file, file.rpartition(".")[0]} - {""}:
                self._names[key] = None if key in self._names else name  # None: of several images
        self._names |= {name: name for name in names}

    def find(self, text: str) -> str | None:
        """The image that a file calls by its path, with or without the folder and extension, or by its name alone."""
        name = text.strip().replace("\\", "/").removeprefix("./")
        return self._names.get(name) or self._names.get(name.removeprefix(self._above).removeprefix(self._prefix))


def _rows(file: Path) -> list[list[str]]:
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = [line for line in text.splitlines() if line.strip()]
    mark = next((mark for mark in "\t,;" if lines and mark in lines[0]), None)
    try:
        rows = list(csv.reader(lines, delimiter=mark)) if mark else [line.rsplit(None, 1) for line in lines]
    except csv.Error as error:
        raise ValueError(f"{file}: {error}; {EXPECTED}") from None
    uneven = next((number for number, row in enumerate(rows) if len(row) != len(rows[0]) or len(row) < 2), None)
    if not rows or uneven is not None:
        where = f"line {lines[uneven]!r:.80}" if uneven is not None else "the file is empty"
        raise ValueError(f"{file}: {where}; {EXPECTED}")
    return rows


def _class_column(file: Path, header: list[str], rows: list[list[str]], image: int) -> int:
    """The one other column, or that with a name for it, or the one whose values repeat; a name before a number."""
    values = {column: [row[column].strip() for row in rows] for column in range(len(header)) if column != image}
    likely = [column for column in values if header[column].strip().lower() in CLASS_WORDS]
    likely = likely or [column for column, each in values.items() if 1 < len(set(each)) < len(each)]
    if len(values) == 1 or (likely and all(_same(values[likely[0]], values[column]) for column in likely)):
        return min(likely or values, key=lambda column: all(map(str.isdigit, values[column])))
    asked = some([header[column] for column in likely or values])
    raise ValueError(f"{file}: which of the columns {asked} is the class? leave only it and {header[image]}")


def _same(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether two columns say the same in other words."""
    return len(set(zip(ours, theirs, strict=True))) == len(set(ours)) == len(set(theirs))


def _classes(file: Path, pairs: list[tuple[str, str]]) -> dict[str, str]:
    classes: dict[str, str] = {}
    for name, text in pairs:
        boxes = BOXES.fullmatch(text.strip())
        label = boxes[1] if boxes else text.strip()
        if classes.setdefault(name, label) != label or not label:
            raise ValueError(f"{file}: {name} has the classes {classes[name]!r} and {label!r}; it must have one")
    return classes

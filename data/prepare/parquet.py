"""Turns parquet files of images and labels, as Hugging Face's data sets have them, into a tree of images."""

import importlib
import importlib.util
import json
import re
from bisect import bisect
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from data import durable
from data.catalog.archive import Member
from data.catalog.listing import SPLITS
from data.catalog.shards import split_of
from data.catalog.tree import is_hidden, is_image
from data.output_folder import RefusedError, refuse, some
from data.prepare import ilsvrc, unpack
from data.prepare.prepared import Prepared, Source, start
from data.prepare.unpack import Folders
from data.types import Watch, in_silence
from data.workers import bad_workers, each

SITE = "https://huggingface.co/datasets/ILSVRC/imagenet-1k"
LABELS = ("label", "labels", "fine_label", "class", "cls", "target")
MOST_ROWS = 1 << 40  # of a file: rows of the next are numbered from there
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"RI": ".webp", b"BM": ".bmp"}


class _Group(NamedTuple):
    """A part of a file, as it is read at a time."""

    path: Path
    split: str
    number: int
    first: int
    """Number of its first row, counted over all files."""


class _Image(NamedTuple):
    row: int
    split: str
    name: str
    synset: str
    """Class by the file's name; empty where it says none."""
    label: str
    """Class by the label; empty where there is none."""
    size: int


def prepare(root: Path, folder: Path, *, partial: bool = False, workers: int, watch: Watch = in_silence) -> Prepared:
    """Write ROOT/train/<class>/ and ROOT/val/<class>/, or the images that are missing there.

    The files are read twice: to check and count the images, and to write them. ImageNet's get their official names.

    Args:
        root: Folder to fill: absent, empty, or begun from the same files.
        folder: Holds, at any depth, files like train-00000-of-00294.parquet; validation or test is val.
        partial: Accept other images than ImageNet's.
        workers: Processes that read and write, 1 to 256; 1 works in this process.
        watch: Shows the progress of each phase.

    Raises:
        RefusedError: The files or the folder cannot be used; one line for each problem. Nothing was written.
        OSError: A file cannot be read or written. The same call continues from there.
        BrokenExecutor: A worker was killed. The same call continues from there.
    """
    files = _files(folder)
    archives = {f"--parquet {path.relative_to(folder)}": path for paths in files.values() for path in paths}
    source = Source(name="imagenet", archives=archives, where=SITE, options={"partial": partial})
    target, contents = start(root, source, SPLITS, [*bad_workers(workers), *_absent(folder, files)])
    if contents:
        return Prepared(contents=contents, written=0)
    groups, images, problems = _groups(files), list[_Image](), list[str]()
    with watch("check", "parts") as progress, closing(each(_scan, groups, workers)) as scanned:
        for number, found in enumerate(scanned, 1):
            images += found if isinstance(found, list) else problems.append(found) or []
            progress(number, len(groups))
    refuse(problems)
    folders = _folders(sorted(images))
    refuse(_counts(folders, partial=partial))
    prepared = unpack.fill(target, folders, lambda missing: _write(root, groups, missing, workers), watch)
    unlabelled = sum(not image.label for image in images)
    return replace(prepared, notes=(f"{unlabelled:,} images without a label were left out",) if unlabelled else ())


def _files(folder: Path) -> dict[str, list[Path]]:
    files = sorted(folder.rglob("[!.]*.parquet"))
    splits = {split: [path for path in files if split_of(str(path.relative_to(folder))) == split] for split in SPLITS}
    return splits if splits["val"] else splits | {"val": [path for path in files if path.name.startswith("test")]}


def _absent(folder: Path, files: dict[str, list[Path]]) -> list[str]:
    if importlib.util.find_spec("pyarrow") is None:
        return ["--parquet: pyarrow is not installed; install Provenet's extra: pip install -e '.[parquet]'"]
    problems = [f"--parquet: {folder} holds no file like {split}-*.parquet; download {SITE}" for split in SPLITS]
    problems = [problem for problem, paths in zip(problems, files.values(), strict=True) if not paths]
    every = {path for paths in files.values() for path in paths}
    series = {(path.parent, *match.groups()) for path in every if (match := _SERIES.fullmatch(path.name))}
    wanted = {place / f"{name}-{part:05}-of-{of}.parquet" for place, name, of in series for part in range(int(of))}
    lacking = sorted(path.name for path in wanted - every)
    return [*problems, *([f"--parquet: lacks {some(lacking)}; download {SITE}"] if lacking else [])]


_SERIES = re.compile(r"(.+)-\d{5}-of-(\d{5})\.parquet")


def _opened(path: Path) -> Any:
    return importlib.import_module("pyarrow.parquet").ParquetFile(path)  # an extra: only here


def _groups(files: dict[str, list[Path]]) -> list[_Group]:
    groups: list[_Group] = []
    for number, (path, split) in enumerate((path, split) for split, paths in files.items() for path in paths):
        row = number * MOST_ROWS
        try:
            metadata = _opened(path).metadata
        except (OSError, ValueError) as error:  # pyarrow's are both
            raise RefusedError(f"--parquet: {path}: {str(error).splitlines()[0]}; download it again") from None
        for group in range(metadata.num_row_groups):
            groups.append(_Group(path, split, group, row))
            row += metadata.row_group(group).num_rows
    return groups


def _scan(group: _Group) -> list[_Image] | str:
    """What a part holds, or why it cannot be used."""
    try:
        return [
            _Image(row, group.split, *_named(path, content, group.split, row), label, len(content))
            for row, path, content, label in _rows(group)
        ]
    except (OSError, ValueError) as error:
        return f"--parquet: {group.path}: {str(error).splitlines()[0]}"


def _rows(group: _Group) -> Iterator[tuple[int, str, bytes, str]]:
    """Number, path, encoded image and class of each row."""
    file = _opened(group.path)
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    images = [name for name, kind in kinds.items() if "binary" in kind]
    labels = [name for name, kind in kinds.items() if re.fullmatch(r"u?int\d+|(large_)?string", kind)]
    label = labels[0] if len(labels) == 1 else next((name for name in LABELS if name in labels), None)
    if len(images) != 1 or label is None:
        raise ValueError(f"has the columns {some(list(kinds))}; expected one of images and one called label")
    features = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")).get("info", {})
    names = features.get("features", {}).get(label, {}).get("names", [])
    table = file.read_row_group(group.number, columns=[images[0], label])
    for row, (image, target) in enumerate(zip(table[images[0]], table[label], strict=True), group.first):
        value, number = image.as_py(), target.as_py()
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if not content:
            raise ValueError(f"row {row % MOST_ROWS} holds no image")
        yield row, path or "", content, _class(number, names)


def _class(label: int | str | None, names: list[str]) -> str:
    if label is None or (isinstance(label, int) and label < 0):
        return ""
    if isinstance(label, int):
        label = names[label] if label < len(names) else f"{label:05}"
    return label.strip().replace("/", "_")


def _named(path: str, content: bytes, split: str, row: int) -> tuple[str, str]:
    """Name of an image's file, and its synset; Hugging Face adds the latter to ImageNet's names."""
    name = PurePosixPath(path).name
    if match := re.fullmatch(r"(.+)_(n\d{8})(\.\w+)", name):
        return match[1] + match[3], match[2]
    if is_hidden(name) or not is_image(name):
        file, number = divmod(row, MOST_ROWS)
        name = f"{split}-{file:05}-{number:07}{SUFFIXES.get(content[:2], '')}"
    synset = re.fullmatch(r"(n\d{8})_.*", name)
    return name, synset[1] if synset else ""


def _folders(images: list[_Image]) -> Folders:
    """The tree, whose classes are called by their synsets where every image has that of its label."""
    labelled = [image for image in images if image.label]
    pairs = {(image.label, image.synset) for image in labelled}
    by_synset = len(pairs) == len({label for label, _ in pairs}) == len({synset for _, synset in pairs if synset})
    members: dict[str, dict[str, Member]] = {}
    for image in labelled:
        folder = members.setdefault(f"{image.split}/{image.synset if by_synset else image.label}", {})
        name = image.name if image.name not in folder else f"{image.row}-{image.name}"  # of several folders, perhaps
        folder[name] = Member(name, image.row, image.size)
    return {folder: list(files.values()) for folder, files in sorted(members.items())}


def _counts(folders: Folders, *, partial: bool) -> list[str]:
    splits = {
        split: {Path(each).name: files for each, files in folders.items() if each.startswith(split)} for split in SPLITS
    }
    classes = {split: set(files) for split, files in splits.items()}
    counts = [sum(map(len, files.values())) for files in splits.values()]
    bad = sorted(filter(is_hidden, classes["train"]))
    problems = [f"--parquet: {some(bad)}: no names of folders"] if bad else []
    if differing := sorted(classes["train"] ^ classes["val"]):
        problems.append(f"--parquet: {some(differing)}: in one of train and val only")
    if not partial and (len(classes["train"]), *counts) != (ilsvrc.CLASSES, ilsvrc.TRAIN_IMAGES, ilsvrc.VAL_IMAGES):
        has = f"classes: {len(classes['train']):,}, train images: {counts[0]:,}, val images: {counts[1]:,}"
        official = f"{ilsvrc.CLASSES:,}, {ilsvrc.TRAIN_IMAGES:,} and {ilsvrc.VAL_IMAGES:,}"
        problems.append(
            f"--parquet: {has}; ImageNet has {official}; for a part of it or another data set, add --partial"
        )
    return problems


class _Task(NamedTuple):
    group: _Group
    paths: dict[int, Path]
    """File of each wanted row."""


def _write(root: Path, groups: list[_Group], missing: Folders, workers: int) -> Iterator[int]:
    paths = {member.offset: root / folder / member.name for folder, files in missing.items() for member in files}
    starts = [group.first for group in groups]
    rows: dict[int, dict[int, Path]] = {start: {} for start in starts}
    for row, path in paths.items():
        rows[starts[bisect(starts, row) - 1]][row] = path
    tasks = [_Task(group, rows[group.first]) for group in groups if rows[group.first]]
    with closing(each(_write_group, tasks, workers)) as done:
        yield from done


def _write_group(task: _Task) -> int:
    for row, _, content, _ in _rows(task.group):
        if row in task.paths:
            durable.replace(task.paths[row], content)
    return len(task.paths)

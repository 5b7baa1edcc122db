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
_SERIES = re.compile(r"(.+)-\d{5}-of-(\d{5})\.parquet")


class _Group(NamedTuple):
    """Rows of a file that are read at a time."""

    path: Path
    split: str
    number: int
    first: int
    """Number of its first row, counted over all files."""


class _Row(NamedTuple):
    number: int
    split: str
    name: str
    """Of the image's file."""
    synset: str
    """Class that this name says, or nothing."""
    label: str
    """Class of the label, or nothing."""
    size: int


def prepare(root: Path, folder: Path, *, partial: bool = False, workers: int, watch: Watch = in_silence) -> Prepared:
    """Write ROOT/train/<class>/ and ROOT/val/<class>/, as `data.prepare.imagenet.prepare` does, with the same names.

    The files, such as train-00000-of-00294.parquet, are read twice: to check and count the images, and to write them.
    With `partial`, they may hold any images. Raises what that function does.
    """
    files = _files(folder)
    archives = {f"--parquet {path.relative_to(folder)}": path for path in files}
    source = Source(name="imagenet", archives=archives, where=SITE, options={"partial": partial})
    target, contents = start(root, source, SPLITS, [*bad_workers(workers), *_absent(folder, files)])
    if contents:
        return Prepared(contents=contents, written=0)
    groups, rows, problems = _groups(files), list[_Row](), list[str]()
    with watch("check", "parts") as progress, closing(each(_scan, groups, workers)) as scanned:
        for number, part in enumerate(scanned, 1):
            if isinstance(part, str):
                problems.append(part)
            else:
                rows += part
            progress(number, len(groups))
    refuse(problems)
    folders = _folders([row for row in sorted(rows) if row.label])
    refuse(_problems(folders, partial=partial))
    prepared = unpack.fill(target, folders, lambda missing: _write(root, groups, missing, workers), watch)
    unlabelled = sum(not row.label for row in rows)
    return replace(prepared, notes=(f"{unlabelled:,} images without a label were left out",) if unlabelled else ())


def _files(folder: Path) -> dict[Path, str]:
    """Files with their split; where none is for validation, those for tests are."""
    files = {path: split_of(str(path.relative_to(folder))) for path in sorted(folder.rglob("[!.]*.parquet"))}
    if "val" not in files.values():
        files |= {path: "val" for path in files if path.name.startswith("test")}
    return {path: split for path, split in files.items() if split}


def _absent(folder: Path, files: dict[Path, str]) -> list[str]:
    if importlib.util.find_spec("pyarrow") is None:
        return ["--parquet: pyarrow is not installed; install Provenet's extra: pip install -e '.[parquet]'"]
    lacking = [f"files like {split}-*.parquet in {folder}" for split in SPLITS if split not in files.values()]
    series = {(path.parent, *match.groups()) for path in files if (match := _SERIES.fullmatch(path.name))}
    every = {place / f"{name}-{part:05}-of-{of}.parquet" for place, name, of in series for part in range(int(of))}
    lacking += sorted(path.name for path in every - files.keys())
    return [f"--parquet: lacks {some(lacking)}; download {SITE}"] if lacking else []


def _opened(path: Path) -> Any:
    return importlib.import_module("pyarrow.parquet").ParquetFile(path)  # of an extra, so not at the top


def _groups(files: dict[Path, str]) -> list[_Group]:
    groups: list[_Group] = []
    for number, (path, split) in enumerate(files.items()):
        try:
            metadata, row = _opened(path).metadata, number * MOST_ROWS
        except (OSError, ValueError) as error:  # pyarrow's are one or the other
            raise RefusedError(f"--parquet: {path}: {str(error).splitlines()[0]}; download it again") from None
        for group in range(metadata.num_row_groups):
            groups.append(_Group(path, split, group, row))
            row += metadata.row_group(group).num_rows
    return groups


def _scan(group: _Group) -> list[_Row] | str:
    """What a group holds, or why it cannot be used."""
    try:
        return [row for row, _ in _read(group)]
    except (OSError, ValueError) as error:
        return f"--parquet: {group.path}: {str(error).splitlines()[0]}"


def _read(group: _Group) -> Iterator[tuple[_Row, bytes]]:
    """Each row with its encoded image."""
    file = _opened(group.path)
    kinds = {field.name: str(field.type) for field in file.schema_arrow}
    images = [name for name, kind in kinds.items() if "binary" in kind]
    labels = [name for name, kind in kinds.items() if re.fullmatch(r"u?int\d+|(large_)?string", kind)]
    label = labels[0] if len(labels) == 1 else next((name for name in LABELS if name in labels), None)
    if len(images) != 1 or label is None:
        raise ValueError(f"has the columns {some(list(kinds))}; expected one of images and one called label")
    about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")).get("info", {})
    names = about.get("features", {}).get(label, {}).get("names", [])
    names = [_class(name, []) for name in names]
    if len({*names, ""}) <= len(names):  # ImageNet has two cranes
        names = [f"{name}_{number:05}" for number, name in enumerate(names)]
    table = file.read_row_group(group.number, columns=[images[0], label])
    for row, (image, target) in enumerate(zip(table[images[0]], table[label], strict=True), group.first):
        value = image.as_py()
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if not content:
            raise ValueError(f"row {row % MOST_ROWS} holds no image")
        named = _named(path or "", content, group.split, row)
        yield _Row(row, group.split, *named, _class(target.as_py(), names), len(content)), content


def _class(label: int | str | None, names: list[str]) -> str:
    """The class as the name of a folder; empty where there is none."""
    if isinstance(label, int):
        label = "" if label < 0 else names[label] if label < len(names) else f"{label:05}"
    return (label or "").strip().replace("/", "_").lstrip(".")


def _named(path: str, content: bytes, split: str, row: int) -> tuple[str, str]:
    """Name of an image's file, and its synset, which Hugging Face adds to ImageNet's names."""
    name = PurePosixPath(path).name
    if match := re.fullmatch(r"(.+)_(n\d{8})(\.\w+)", name):
        return match[1] + match[3], match[2]
    if is_hidden(name) or not is_image(name):
        file, number = divmod(row, MOST_ROWS)
        name = f"{split}-{file:05}-{number:07}{SUFFIXES.get(content[:2], '')}"
    return name, match[1] if (match := re.fullmatch(r"(n\d{8})_.*", name)) else ""


def _folders(rows: list[_Row]) -> Folders:
    """The tree; classes are called by their synsets where every label has one of its own."""
    pairs = {(row.label, row.synset) for row in rows}
    by_synset = len(pairs) == len({label for label, _ in pairs}) == len({synset for _, synset in pairs if synset})
    folders: dict[str, dict[str, Member]] = {}
    for row in rows:
        files = folders.setdefault(f"{row.split}/{row.synset if by_synset else row.label}", {})
        name = row.name if row.name not in files else f"{row.number}-{row.name}"
        files[name] = Member(name, row.number, row.size)
    return {folder: list(files.values()) for folder, files in sorted(folders.items())}


def _problems(folders: Folders, *, partial: bool) -> list[str]:
    classes = {split: {PurePosixPath(each).name for each in folders if each.startswith(split)} for split in SPLITS}
    differing = sorted(classes["train"] ^ classes["val"])
    problems = [f"--parquet: {some(differing)}: in one of train and val only"] if differing else []
    train, val = (sum(len(folders[each]) for each in folders if each.startswith(split)) for split in SPLITS)
    if not partial and (len(classes["train"]), train, val) != (ilsvrc.CLASSES, ilsvrc.TRAIN_IMAGES, ilsvrc.VAL_IMAGES):
        has = f"classes: {len(classes['train']):,}, train images: {train:,}, val images: {val:,}"
        official = f"{ilsvrc.CLASSES:,}, {ilsvrc.TRAIN_IMAGES:,} and {ilsvrc.VAL_IMAGES:,}"
        problems.append(f"--parquet: {has}; ImageNet has {official}; for other images, add --partial")
    return problems


def _write(root: Path, groups: list[_Group], missing: Folders, workers: int) -> Iterator[int]:
    starts = [group.first for group in groups]
    paths: list[dict[int, Path]] = [{} for _ in groups]
    for folder, members in missing.items():
        for member in members:
            paths[bisect(starts, member.offset) - 1][member.offset] = root / folder / member.name
    tasks = [pair for pair in zip(groups, paths, strict=True) if pair[1]]
    with closing(each(_write_group, tasks, workers)) as done:
        yield from done


def _write_group(task: tuple[_Group, dict[int, Path]]) -> int:
    group, paths = task
    for row, content in _read(group):
        if row.number in paths:
            durable.replace(paths[row.number], content)
    return len(paths)

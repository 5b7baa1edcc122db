"""Writes members of archives as a tree of files, each of which is there whole or not at all."""

import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data.catalog import archive
from data.catalog.archive import Member
from data.catalog.listing import read
from data.durable import replace
from data.output_folder import alone, entries, refuse, refuse_strangers
from data.prepare.prepared import Contents, Place, Prepared
from data.types import Watch
from data.workers import each

CHUNK = 64  # files a worker writes at a time: tens of milliseconds, so that Ctrl-C is soon obeyed
BLOCK = 4096  # bytes that most file systems round a file up to

Folders = dict[str, list[Member]]
"""Files by their folder below the root of the tree; names are those in the folder, places those in the archive."""


class _Chunk(NamedTuple):
    source: Path
    root: Path
    files: list[tuple[str, Member]]


def fill(place: Place, folders: Folders, write: Callable[[Folders], Iterable[int]], watch: Watch) -> Prepared:
    """Write what is missing of a tree with folders like `train/n01440764`, and put it on record.

    Args:
        place: Where.
        folders: The whole tree.
        write: Writes these files of it, and yields how many more are done, now and then.
        watch: Shows how far it is.

    Raises:
        RefusedError: There is no room, something else in the folder, or another process at work. Nothing was written.
        OSError: A file cannot be written. Once it can, the same call goes on from there.
    """
    lacking = _missing(place.root, folders)
    sizes = [member.size for files in lacking.values() for member in files]
    refuse(no_room(place.root, sum(size + -size % BLOCK for size in sizes), len(sizes)))
    contents = _contents(folders)
    total = contents.train + contents.val
    place.root.mkdir(parents=True, exist_ok=True)
    with alone(place.lock), watch("prepare", "images") as progress:
        place.write_record()
        for folder in lacking:
            (place.root / folder).mkdir(parents=True, exist_ok=True)
        done = total - len(sizes)
        progress(done, total)
        for count in write(lacking):
            progress(done := done + count, total)
        place.complete(contents)
    return Prepared(contents=contents, written=len(sizes))


def plain(root: Path, sources: dict[Path, Folders], workers: int) -> Generator[int]:
    """Write files out of archives that are not compressed.

    Yields:
        How many more are done.

    Raises:
        OSError: A file cannot be read or written.
        BrokenExecutor: A worker was killed.
    """
    chunks = [_Chunk(source, root, files) for source, folders in sources.items() for files in _forwards(folders)]
    with closing(each(_write, chunks, workers)) as done:
        yield from done


def zipped(source: Path, root: Path, folders: Folders) -> Generator[int]:
    """Write files out of a gzip file, which can only be read from its beginning on, by one process.

    Yields:
        How many more are done.

    Raises:
        ArchiveError: It is damaged.
        OSError: A file cannot be read or written.
    """
    targets = {member.offset: root / folder / member.name for folder, wanted in folders.items() for member in wanted}
    with archive.unzipped(source) as stream:
        for member in archive.members(stream, str(source)):
            if path := targets.get(member.offset):
                replace(path, stream.read(member.size))
                yield 1


def no_room(root: Path, needed: int, files: int) -> list[str]:
    """Why so many bytes in so many files cannot be written below `root`, one line each; empty where they can."""
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free, inodes = shutil.disk_usage(place).free, os.statvfs(place)
    problems: list[str] = []
    if needed > free:
        problems.append(
            f"{root}: needs {needed / 1e9:,.1f} GB, but its disk has {free / 1e9:,.1f} GB left; "
            "make room, or name a folder on another disk"
        )
    if inodes.f_files and files > inodes.f_favail:  # some file systems count none
        problems.append(
            f"{root}: needs {files:,} files, but its file system has room for {inodes.f_favail:,}; "
            "name a folder on another one"
        )
    return problems


def _missing(root: Path, folders: Folders) -> Folders:
    """The files that are not there, or not whole: their size betrays an interrupted write and a power cut.

    Raises:
        RefusedError: A folder holds something else as well.
    """
    lacking: Folders = {}
    parents: dict[str, set[str]] = {}
    for folder, wanted in folders.items():
        parents.setdefault(str(PurePosixPath(folder).parent), set()).add(PurePosixPath(folder).name)
        refuse_strangers(root / folder, {member.name for member in wanted})
        sizes = {entry.name: entry.stat().st_size for entry in entries(root / folder)}
        if absent := [member for member in wanted if sizes.get(member.name) != member.size]:
            lacking[folder] = absent
    for parent, names in parents.items():
        refuse_strangers(root / parent, names)
    return lacking


def _contents(folders: Folders) -> Contents:
    counts = {"train": 0, "val": 0}
    for folder, files in folders.items():
        counts[PurePosixPath(folder).parts[0]] += len(files)
    return Contents(
        classes=len({PurePosixPath(folder).name for folder in folders}),
        bytes=sum(member.size for files in folders.values() for member in files),
        **counts,
    )


def _forwards(folders: Folders) -> Iterator[list[tuple[str, Member]]]:
    """A few files at a time in the order of the archive, whatever that of the folders."""
    files = [(folder, member) for folder, wanted in folders.items() for member in wanted]
    files.sort(key=lambda file: file[1].offset)
    for start in range(0, len(files), CHUNK):
        yield files[start : start + CHUNK]


def _write(chunk: _Chunk) -> int:
    for folder, member in chunk.files:
        replace(chunk.root / folder / member.name, read(chunk.source, member.offset, member.size))
    return len(chunk.files)

"""Writes files out of archives to a tree, each of them whole or not at all."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data.catalog import archive
from data.catalog.archive import Member
from data.catalog.listing import read
from data.durable import replace
from data.output_folder import alone, entries, refuse, refuse_strangers, room_problems
from data.prepare.prepared import Contents, Prepared, Target
from data.types import Watch
from data.workers import each

CHUNK = 64  # files a worker writes at a time: tens of milliseconds, so that Ctrl-C acts soon
BLOCK = 4096  # bytes that most file systems round a file up to

Folders = dict[str, list[Member]]
"""Files by their folder below the root of the tree; names are those in the folder, offsets those in the archive."""


class _Chunk(NamedTuple):
    source: Path
    root: Path
    files: list[tuple[str, Member]]


def fill(target: Target, folders: Folders, write: Callable[[Folders], Iterable[int]], watch: Watch) -> Prepared:
    """Write the missing files of a tree with folders like `train/n01440764`, and record them.

    Args:
        target: The folder.
        folders: The whole tree.
        write: Writes some of its files, and yields how many more are done.
        watch: Shows the progress.

    Raises:
        RefusedError: The disk is too full, the folder holds something else, or another process writes there. Nothing
            was written.
        OSError: A file cannot be written. The same call continues from there.
    """
    missing = _missing(target.root, folders)
    sizes = [member.size for files in missing.values() for member in files]
    refuse(room_problems(target.root, sum(size + -size % BLOCK for size in sizes), len(sizes)))
    contents = _contents(folders)
    total = contents.train + contents.val
    target.root.mkdir(parents=True, exist_ok=True)
    with alone(target.lock), watch("prepare", "images") as progress:
        target.write_record()
        for folder in missing:
            (target.root / folder).mkdir(parents=True, exist_ok=True)
        done = total - len(sizes)
        progress(done, total)
        for count in write(missing):
            progress(done := done + count, total)
        target.complete(contents)
    return Prepared(contents=contents, written=len(sizes))


def plain(root: Path, sources: dict[Path, Folders], workers: int) -> Generator[int]:
    """Write files out of archives that are not compressed; yields how many more are done.

    Raises:
        OSError: A file cannot be read or written.
        BrokenExecutor: A worker was killed.
    """
    chunks = [_Chunk(source, root, files) for source, folders in sources.items() for files in _chunks(folders)]
    with closing(each(_write, chunks, workers)) as done:
        yield from done


def zipped(source: Path, root: Path, folders: Folders) -> Generator[int]:
    """Write files out of a gzip file, which one process reads from its beginning; yields how many more are done.

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


def _missing(root: Path, folders: Folders) -> Folders:
    """The files that do not exist, or have another size, as after a power cut.

    Raises:
        RefusedError: A folder holds something else as well.
    """
    missing: Folders = {}
    parents: dict[str, set[str]] = {}
    for folder, wanted in folders.items():
        parents.setdefault(str(PurePosixPath(folder).parent), set()).add(PurePosixPath(folder).name)
        refuse_strangers(root / folder, {member.name for member in wanted})
        sizes = {entry.name: entry.stat().st_size for entry in entries(root / folder)}
        if absent := [member for member in wanted if sizes.get(member.name) != member.size]:
            missing[folder] = absent
    for parent, names in parents.items():
        refuse_strangers(root / parent, names)
    return missing


def _contents(folders: Folders) -> Contents:
    counts = {"train": 0, "val": 0}
    for folder, files in folders.items():
        counts[PurePosixPath(folder).parts[0]] += len(files)
    return Contents(
        classes=len({PurePosixPath(folder).name for folder in folders}),
        bytes=sum(member.size for files in folders.values() for member in files),
        **counts,
    )


def _chunks(folders: Folders) -> Iterator[list[tuple[str, Member]]]:
    """A few files at a time, in the order of the archive."""
    files = [(folder, member) for folder, wanted in folders.items() for member in wanted]
    files.sort(key=lambda file: file[1].offset)
    for start in range(0, len(files), CHUNK):
        yield files[start : start + CHUNK]


def _write(chunk: _Chunk) -> int:
    for folder, member in chunk.files:
        replace(chunk.root / folder / member.name, read(chunk.source, member.offset, member.size))
    return len(chunk.files)

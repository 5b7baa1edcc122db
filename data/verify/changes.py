"""Compares some files on disk with a manifest, to see whether it still lists what is there."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from data.catalog.layout import part
from data.catalog.listing import digest, read
from data.catalog.manifest import Manifest
from data.catalog.shards import split_of
from data.catalog.tree import Tree, is_hidden, level
from data.names import shown

FILES = 64
FOLDERS = 64
SHARD = ".tar"  # all such files in a folder belong to its split


def changed(manifest: Manifest) -> str | None:
    """The first difference between the images and their list, for the user; None where there is none.

    A file added, removed or renamed changes the time of its folder: at most FOLDERS folders with another time are read,
    the latest changed first (a copied data set has new times everywhere). FILES images, spread over the split, are
    checked: another size is a difference, another time only if the content differs too. Of archives, size and time are
    compared, and where the time differs, the content of FILES of their images; a tar shard that is not listed is one.
    Contents are not compared where the manifest has no hashes.
    """
    if not manifest.root.is_dir():
        return f"{manifest.root}: no such folder"
    try:
        change = next(_archives(manifest) if manifest.archives else _tree(manifest), None)
        return change and shown(change)
    except OSError as error:
        return f"{error.filename or manifest.root}: {error.strerror}"


def _archives(manifest: Manifest) -> Iterator[str]:
    if all(archive.endswith(SHARD) for archive in manifest.archives):
        splits = set(map(split_of, manifest.archives))
        present = {path.name for path in manifest.root.glob(f"[!.]*{SHARD}") if split_of(path.name) in splits}
        yield from (f"{manifest.root / name}: not listed" for name in sorted(present - set(manifest.archives)))
    states = [(manifest.root / archive).stat() for archive in manifest.archives]
    for archive, size, status in zip(manifest.archives, manifest.archive_sizes.tolist(), states, strict=True):
        if status.st_size != size:
            yield f"{manifest.root / archive}: {status.st_size:,} bytes, listed with {size:,}"
    times = np.array([status.st_mtime_ns for status in states], np.int64)
    yield from _images(manifest, np.flatnonzero(times[manifest.archive] != manifest.mtimes))


def _tree(manifest: Manifest) -> Iterator[str]:
    times = np.array([(manifest.root / folder).stat().st_mtime_ns for folder in manifest.folders], np.int64)
    stale = np.flatnonzero(times != manifest.folder_mtimes)
    for index in stale[np.argsort(-times[stale])][:FOLDERS].tolist():
        yield from _folder(manifest, manifest.folders[index])
    yield from _images(manifest, np.arange(len(manifest)))


def _folder(manifest: Manifest, folder: str) -> Iterator[str]:
    path = manifest.root / folder
    present = dict(level(path))
    if folder:
        listed = _listed(manifest, folder)
        new = _new_images(manifest, folder, present, listed)
    else:
        listed = set(manifest.classes)
        new = {name for name, is_folder in present.items() if is_folder} - listed
    hidden = {name for name in listed if is_hidden(name) and (path / name).exists()}  # which 0.1.0 listed
    yield from (f"{path / name}: not listed" for name in sorted(new))
    yield from (f"{path / name}: listed, but no longer there" for name in sorted(listed - set(present) - hidden))


def _listed(manifest: Manifest, folder: str) -> set[str]:
    """Names of the images directly in a folder."""
    target = manifest.classes.index(folder.split("/", 1)[0])
    start, stop = np.searchsorted(manifest.targets, [target, target + 1]).tolist()
    names = [*map(manifest.name, range(start, stop)), *(image.name for image in manifest.broken)]
    return {name.rpartition("/")[2] for name in names if name.rpartition("/")[0] == folder}


def _new_images(manifest: Manifest, folder: str, present: dict[str, bool], listed: set[str]) -> set[str]:
    """Images that are not listed, and new subfolders with images."""
    files = {name for name, is_folder in present.items() if not is_folder} - listed
    if files and (share := manifest.rule.partition("--val-share ")[2]):  # the other split lies in the same folders
        whole = Tree(manifest.root, (folder.split("/", 1)[0],)).listing()
        own = {*map(manifest.name, np.where(manifest.targets == manifest.classes.index(whole.classes[0]))[0].tolist())}
        halves = ({one.name for one in part(whole, float(share), split).entries} for split in ("val", "train"))
        files &= {name.removeprefix(f"{folder}/") for name in max(halves, key=lambda half: len(half & own))}
    folders = {name for name, is_folder in present.items() if is_folder and f"{folder}/{name}" not in manifest.folders}
    return files | {name for name in folders if Tree(manifest.root, (f"{folder}/{name}",)).count(1)}


def _images(manifest: Manifest, rows: NDArray[np.int64]) -> Iterator[str]:
    """Differences of FILES of these rows, evenly spread."""
    checked = np.unique(np.linspace(0, len(rows) - 1, FILES, dtype=np.int64)) if len(rows) else []
    for row in rows[checked].tolist():
        yield from _image(manifest, row)


def _image(manifest: Manifest, row: int) -> Iterator[str]:
    path, size, status = manifest.path(row), int(manifest.sizes[row]), manifest.path(row).stat()
    if not manifest.archives and status.st_size != size:
        yield f"{path}: {status.st_size:,} bytes, listed with {size:,}"
    elif status.st_mtime_ns != manifest.mtimes[row] and manifest.hashed:
        present, listed = digest(read(path, int(manifest.offsets[row]), size)), manifest.hashes[row].tobytes()
        if present != listed:
            yield f"{manifest.label(row)}: other content: hash {present.hex()[:8]}, listed with {listed.hex()[:8]}"

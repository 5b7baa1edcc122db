"""The list of a split's images: what every loader reads instead of the tree."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.durable import flush
from data.tree import Tree
from data.types import BrokenImageError

SCHEMA = 1
SPOT_CHECKS = 64  # files compared with the manifest when a run goes on: misses a change of 10 % with probability 0.001


class DamagedManifestError(ValueError):
    """A stored list of images that cannot be read; the message says which."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """N images of one split, sorted by class and path.

    Paths lie in one array of bytes, so that 1.28 million entries take 80 MB and no Python objects.
    """

    root: Path
    """Folder of the split."""
    classes: tuple[str, ...]
    """Class folders, sorted: a target is an index into them."""
    targets: NDArray[np.int64]
    """(N,) index of the class."""
    widths: NDArray[np.int64]
    """(N,) pixels as stored, EXIF orientation ignored."""
    heights: NDArray[np.int64]
    """(N,) pixels as stored, EXIF orientation ignored."""
    sizes: NDArray[np.int64]
    """(N,) bytes of the file."""
    names: NDArray[np.uint8]
    """All paths below `root`, end to end, in the file system's encoding."""
    ends: NDArray[np.int64]
    """(N,) where each path ends in `names`."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.targets)

    def path(self, index: int) -> Path:
        """File of one image."""
        start = int(self.ends[index - 1]) if index else 0
        return self.root / os.fsdecode(self.names[start : int(self.ends[index])].tobytes())

    def fingerprint(self) -> str:
        """Hex digest of classes, paths, file sizes and image sizes; the folder the tree lies in does not enter."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for column in (self.targets, self.widths, self.heights, self.sizes, self.names, self.ends):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def changed(self) -> str | None:
        """What one of a few files, spread over the split, shows of a tree that is not the one listed, or None."""
        for index in np.unique(np.linspace(0, len(self) - 1, SPOT_CHECKS, dtype=int)):
            path, listed = self.path(int(index)), int(self.sizes[index])
            try:
                found = path.stat().st_size
            except OSError as error:
                return f"{path}: {error.strerror}"
            if found != listed:
                return f"{path}: {found} bytes, {listed} when the run began"
        return None

    def save(self, file: Path) -> None:
        """Write to `file` (.npz), all or nothing."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        temporary = file.with_suffix(".tmp.npz")
        with temporary.open("wb") as stream:
            np.savez(stream, schema=SCHEMA, classes=np.array(self.classes), **columns)
            flush(stream)
        temporary.replace(file)


_COLUMNS = ("targets", "widths", "heights", "sizes", "names", "ends")


def load(file: Path, root: Path) -> Manifest:
    """Read what `save` wrote, for the tree at `root`.

    Raises:
        DamagedManifestError: The file is of another version or is not a whole manifest.
    """
    try:
        with np.load(file) as stored:
            if int(stored["schema"]) != SCHEMA:
                raise ValueError(f"version {stored['schema']}, this program reads {SCHEMA}")
            columns: dict[str, Any] = {name: stored[name] for name in _COLUMNS}
            return Manifest(root=root, classes=tuple(map(str, stored["classes"])), **columns)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedManifestError(f"{file} is no manifest: {error}; delete it to have it made anew") from None


def scan(tree: Tree, progress: Callable[[int, int], object]) -> Manifest:
    """List a split, reading the header of every file for its width and height.

    Args:
        tree: The split.
        progress: Called now and then with the number of files read and their total.

    Raises:
        BrokenImageError: Some files are not images; the message names the first few.
    """
    files = [(target, name) for target, folder in enumerate(tree.classes) for name in tree.images(folder)]
    headers, broken = list[tuple[int, int, int]](), list[str]()
    with ThreadPoolExecutor(max_workers=min(32, 4 * (os.cpu_count() or 1))) as pool:
        paths = (tree.root / name for _, name in files)
        for done, header in enumerate(pool.map(_header, paths), start=1):
            if isinstance(header, str):
                broken.append(header)
            else:
                headers.append(header)
            if done % 100 == 0:
                progress(done, len(files))
    if broken:
        raise BrokenImageError(_broken(tree.root, broken, len(files)))
    widths, heights, sizes = np.array(headers, dtype=np.int64).T.copy()
    names = [os.fsencode(name) for _, name in files]
    return Manifest(
        root=tree.root,
        classes=tree.classes,
        targets=np.array([target for target, _ in files], dtype=np.int64),
        widths=widths,
        heights=heights,
        sizes=sizes,
        names=np.frombuffer(b"".join(names), dtype=np.uint8),
        ends=np.cumsum([len(name) for name in names], dtype=np.int64),
    )


def _header(path: Path) -> tuple[int, int, int] | str:
    try:
        with Image.open(path) as image:
            return *image.size, path.stat().st_size
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's parsers raise all three on broken headers
        return f"{path}: {error}"


def _broken(root: Path, broken: list[str], total: int) -> str:
    lines = "\n".join(f"  {line}" for line in broken[:10])
    more = f"\n  and {len(broken) - 10} more" if len(broken) > 10 else ""
    return f"{root}: {len(broken)} of {total} files cannot be read as images; repair or remove them\n{lines}{more}"

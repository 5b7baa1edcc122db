"""A copy of the code that a job runs, so that editing the checkout changes no job that waits. Standard library only."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainer.commit import FILE, commit

PACKAGES = ("launch", "trainer", "models", "data")
_ROOT = Path(__file__).parents[1]


def pin(folder: Path) -> Path:
    """Copy the code into a subfolder of `folder`, unless this very code lies there already; gives the subfolder."""
    sources = list(_sources())
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source}\0{hashlib.sha256((_ROOT / source).read_bytes()).hexdigest()}\n".encode())
    place = folder / f"code-{digest.hexdigest()[:12]}"
    if not place.exists():
        _copy(sources, place)
    return place


def commit_of(place: Path) -> str:
    """Commit of a pinned copy."""
    return (place / FILE).read_text(encoding="utf-8").strip()


def _copy(sources: list[Path], place: Path) -> None:
    partial = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    for source in sources:
        (partial / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_ROOT / source, partial / source)
    (partial / FILE).write_text(commit() + "\n", encoding="utf-8")
    try:
        partial.rename(place)
    except OSError:  # another submission was first
        if not place.exists():
            raise
        shutil.rmtree(partial)


def _sources() -> Iterator[Path]:
    """Every file of the packages but what Python compiles, relative to their common folder, sorted."""
    for package in PACKAGES:
        for file in sorted((_ROOT / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(_ROOT)

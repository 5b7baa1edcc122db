"""A copy of the code for a job, so that editing the checkout changes no queued job. Standard library only."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainer.commit import FILE, commit

PACKAGES = ("launch", "trainer", "models", "data")
_ROOT = Path(__file__).parents[1]


def pin(folder: Path) -> Path:
    """Copy the code into a subfolder of `folder` that is named by its hash, unless it exists; returns the subfolder."""
    sources = list(_sources())
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source}\0{hashlib.sha256((_ROOT / source).read_bytes()).hexdigest()}\n".encode())
    copy = folder / f"code-{digest.hexdigest()[:12]}"
    if not copy.exists():
        _copy(sources, copy)
    return copy


def commit_of(copy: Path) -> str:
    return (copy / FILE).read_text(encoding="utf-8").strip()


def _copy(sources: list[Path], copy: Path) -> None:
    partial = copy.with_name(f"{copy.name}.{os.getpid()}.tmp")
    for source in sources:
        (partial / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_ROOT / source, partial / source)
    (partial / FILE).write_text(commit() + "\n", encoding="utf-8")
    try:
        partial.rename(copy)
    except OSError:  # another submission was first
        if not copy.exists():
            raise
        shutil.rmtree(partial)


def _sources() -> Iterator[Path]:
    """Every file of the packages without __pycache__, relative to their common folder, sorted."""
    for package in PACKAGES:
        for file in sorted((_ROOT / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(_ROOT)

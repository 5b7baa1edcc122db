"""What all commands that fill a folder share: what they refuse, and how they write a file. Standard library only."""

import os
from collections.abc import Iterable
from pathlib import Path

SPLITS = ("train", "val")
ADVICE = "name another folder, or delete it"
SHOWN = 10


def manifest_file(folder: Path, split: str) -> Path:
    """Where the manifest of a split lies, beside the data or in a run directory."""
    return folder / f"manifest-{split}.npz"


MANIFESTS = tuple(manifest_file(Path(), split).name for split in SPLITS)


class RefusedError(ValueError):
    """The options or the folder cannot be used, and nothing was written; the message is for the user."""


def refuse(problems: list[str]) -> None:
    """Go on only where there are none.

    Raises:
        RefusedError: The first of them, one line each.
    """
    if problems:
        more = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise RefusedError("\n".join(problems[:SHOWN] + more))


def refuse_strangers(folder: Path, ours: Iterable[str]) -> None:
    """Go on only where a folder holds nothing but these, or is not there.

    Raises:
        RefusedError: It holds something else.
    """
    strangers = sorted({entry.name for entry in entries(folder)} - set(ours))
    if strangers:
        raise RefusedError(f"{folder} holds {some(strangers)}, no part of this data set; {ADVICE}")


def some(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, if there is one, without hidden files, which are nobody's business."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return [entry for entry in found if not entry.name.startswith(".")]


def replace(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all. What a killed writer leaves, the next one overwrites.

    Raises:
        OSError: With the name of the file, which a full disk does not tell.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None

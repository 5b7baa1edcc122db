"""What the processes of a run were decoding when they died: the next start and `status` say so. Loads no torch."""

import faulthandler
import os
import re
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import manifest
from data.folder import SPLITS
from data.load import note
from data.load.note import Note
from trainer.rundir import RunDirectory

DEATHS = "deaths.txt"

_MOST_IMAGES, _MOST_RANKS = 3, 16
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)  # those of faulthandler
_DAMAGED = (OSError, ValueError, KeyError, EOFError, IndexError, zipfile.BadZipFile)


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """A process of the newest start, which left its notes behind."""

    rank: int
    images: tuple[str, ...]
    """What it was reading and decoding, or would have next: names below the data set, quoted and escaped."""
    trace: str
    """What Python's fault handler wrote; empty after SIGKILL or the loss of the machine."""

    def __str__(self) -> str:
        """How it ended, and the first images."""
        first = ", ".join(self.images[:_MOST_IMAGES]) + ", ..." * (len(self.images) > _MOST_IMAGES)
        had = f"it had {len(self.images)} images in hand to decode: {first}" if first else "it was decoding no image"
        return f"rank {self.rank} of the last start {self._end()}; {had}"

    def _end(self) -> str:
        reason = self.trace.partition("\n")[0].removeprefix("Fatal Python error: ")
        for number in _FAULTS:
            if reason.lower() == str(signal.strsignal(number)).lower():
                return f"died of signal {number:d} ({number.name})"
        return f"died of a fault ({reason})" if reason else "was killed or lost its machine"


def begin(run: RunDirectory, rank: int, most: tuple[int, int], stack: ExitStack) -> tuple[Note | None, Note | None]:
    """Open this process's notes on train and val, and a file for the fault handler; `stack` removes them.

    Args:
        run: Where they lie.
        rank: Of this process.
        most: Images in a batch of each split, at most.
        stack: Closed at every end but a death.
    """
    notes: list[Note | None] = [None, None]
    with suppress(OSError):  # a full disk ends no run
        run.at_work.mkdir(exist_ok=True)
        stack.callback(partial(_leave, run.at_work))
        for place, split in enumerate(SPLITS):
            notes[place] = opened = Note(run.at_work / f"rank{rank}-{split}", most[place])
            stack.callback(opened.remove)
        _trace_into(run.at_work / f"rank{rank}-trace.txt", stack)
    return notes[0], notes[1]


def deaths(run: RunDirectory) -> list[Death]:
    """The processes that died in the newest start, those first whose fault is known; of one that trains, all."""
    found = (re.fullmatch(r"rank(\d+)-.*", file.name) for file in run.at_work.glob("rank*"))
    ranks = sorted({int(name[1]) for name in found if name})
    return sorted((_death(run, rank) for rank in ranks), key=lambda death: not death.trace)


def summary(found: list[Death]) -> str:
    """The deaths in a line; empty where there are none."""
    if not found:
        return ""
    others = f"; {len(found) - 1} more left as suddenly" if len(found) > 1 else ""
    return f"{found[0]}{others}"


def tell(run: RunDirectory, say: Callable[[str], None]) -> None:
    """Say who died in the start before this one, keep all of it in a file, and clear it away (rank 0 only)."""
    if found := deaths(run):
        file = run.path / DEATHS
        say(f"{summary(found)}; all are listed in {file}")
        with suppress(OSError), file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write("".join(map(_entry, found[:_MOST_RANKS])))
    shutil.rmtree(run.at_work, ignore_errors=True)


def _trace_into(file: Path, stack: ExitStack) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    stack.callback(partial(note.remove, descriptor, file))
    faulthandler.enable(descriptor)
    stack.callback(lambda: faulthandler.enable(sys.__stderr__) if sys.__stderr__ else faulthandler.disable())


def _leave(folder: Path) -> None:
    with suppress(OSError):  # other processes are still at work
        folder.rmdir()


def _death(run: RunDirectory, rank: int) -> Death:
    place = run.at_work / f"rank{rank}"
    trace = ""
    with suppress(OSError):
        trace = place.with_name(f"{place.name}-trace.txt").read_text(encoding="utf-8", errors="replace")
    images = (name for split in SPLITS for name in _images(run, split, place.with_name(f"{place.name}-{split}")))
    return Death(rank=rank, images=tuple(images), trace=trace)


def _images(run: RunDirectory, split: str, file: Path) -> list[str]:
    try:
        rows = note.read(file)
        return [repr(f"{split}/{name}") for name in manifest.names(run.manifest(split), rows)] if rows else []
    except _DAMAGED:  # by whatever ended the machine
        return []


def _entry(death: Death) -> str:
    lines = "".join(f"  {image}\n" for image in death.images)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {death}\n{lines}{death.trace}\n"

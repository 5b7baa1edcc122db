"""The images that a process was decoding when it died, for the next start and `status` to print. Loads no torch."""

import faulthandler
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from data.catalog import manifest
from data.catalog.listing import SPLITS
from data.durable import opened
from data.load import note
from data.load.note import Note
from trainer.rundir import RunDirectory

DEATHS = "deaths.txt"

_MOST_IMAGES, _MOST_RANKS = 3, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """A process of the newest start that died; its notes are still there."""

    rank: int
    images: tuple[str, ...]
    """Images that it was reading and decoding, or would have next: names below the data set, quoted and escaped."""
    trace: str
    """The output of Python's fault handler; empty after SIGKILL or the loss of the machine."""

    def __str__(self) -> str:
        fault = self.trace.partition("\n")[0].removeprefix("Fatal Python error: ")
        end = f"died of a signal ({fault})" if fault else "was killed or lost its machine"
        first = ", ".join(self.images[:_MOST_IMAGES]) + ", ..." * (len(self.images) > _MOST_IMAGES)
        had = f"images that it was decoding or would have next ({len(self.images)}): {first}"
        return f"rank {self.rank} of the last start {end}; {had if first else 'it was decoding no image'}"


def begin(run: RunDirectory, rank: int, most: tuple[int, int], stack: ExitStack) -> tuple[Note | None, Note | None]:
    """Open this process's notes on train and val, of `most` images a batch, and a file for the fault handler.

    `stack`, which is closed unless the process dies, removes them.
    """
    notes: list[Note | None] = [None, None]
    with suppress(OSError):  # a full disk ends no run
        run.at_work.mkdir(exist_ok=True)
        stack.callback(partial(_remove_empty, run))
        for index, split in enumerate(SPLITS):
            notes[index] = note_ = Note(run.at_work / f"rank{rank}-{split}", most[index])
            stack.callback(note_.remove)
        trace = run.at_work / f"rank{rank}-trace.txt"
        descriptor = opened(trace, os.O_WRONLY | os.O_TRUNC)
        stack.callback(partial(note.remove, descriptor, trace))
        faulthandler.enable(descriptor)
        stack.callback(lambda: faulthandler.enable(sys.__stderr__) if sys.__stderr__ else faulthandler.disable())
    return notes[0], notes[1]


def deaths(run: RunDirectory) -> list[Death]:
    """The processes that died in the newest start, those with a trace first; while a run trains, all processes."""
    matches = (re.match(r"rank(\d+)-", file.name) for file in run.at_work.glob("rank*"))
    ranks = sorted({int(match[1]) for match in matches if match})
    return sorted((_death(run, rank) for rank in ranks), key=lambda death: not death.trace)


def summary(deaths: list[Death]) -> str:
    """The deaths in a line; empty where there are none."""
    others = f"; so did {len(deaths) - 1} more, or were killed" if len(deaths) > 1 else ""
    return f"{deaths[0]}{others}" if deaths else ""


def report(run: RunDirectory, say: Callable[[str], None]) -> None:
    """Print which processes died in the start before, append all to a file, and remove the notes (rank 0 only)."""
    if dead := deaths(run):
        file = run.path / DEATHS
        say(f"{summary(dead)}; all are listed in {file}")
        flags = os.O_WRONLY | os.O_APPEND
        with suppress(OSError), os.fdopen(opened(file, flags), "a", encoding="utf-8", errors="backslashreplace") as to:
            for death in dead[:_MOST_RANKS]:
                lines = "".join(f"  {image}\n" for image in death.images)
                to.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {death}\n{lines}{death.trace}\n")
    shutil.rmtree(run.at_work, ignore_errors=True)


def _remove_empty(run: RunDirectory) -> None:
    with suppress(OSError):  # not empty: other processes still run
        run.at_work.rmdir()


def _death(run: RunDirectory, rank: int) -> Death:
    images, trace = list[str](), ""
    for split in SPLITS:
        with suppress(Exception):  # of any kind: whatever ended the machine may have damaged these files
            rows = note.read(run.at_work / f"rank{rank}-{split}")
            names = manifest.names(run.manifest(split), rows) if rows else []
            images += [repr(f"{split}/{name}") for name in names]
    with suppress(OSError):
        trace = (run.at_work / f"rank{rank}-trace.txt").read_text(encoding="utf-8", errors="replace")
    return Death(rank=rank, images=tuple(images), trace=trace)

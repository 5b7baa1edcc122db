"""Which process of a run hangs, while the others wait for it. Standard library only.

Each process counts what it begins: the phases of its steps, and collectives. All begin the same in the same order, so
one that hangs has counted fewer than those that wait for it. A process whose count stands still writes it to a file in
the run directory, and the first of those that wait names the others; while all go on, nothing is written. Files serve
for that, as the store of the process group hangs or ends with rank 0.
"""

import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from data.durable import opened
from trainer.rundir import RunDirectory
from trainer.terminal import age
from trainer.world import World

STILL_S = 60.0  # much longer than a step; where one compiles for longer than the others, they do wait for it
LOOK_S = 5.0
SLOW_POINTS = 10  # log points in a row at which a process is the slowest by far, until it is named

_RECORD = 256  # bytes: records of one size replace each other in a single write
_FORM = re.compile(r"1 ([0-9]+) ([0-9.]+) (process [0-9]+ on \S+) *")  # schema, count, since when, which process

Said = dict[int, tuple[int, float, str]]  # by rank: count, since when it has stood still, which process


class Watch:
    """Names the processes for which this one waits: on stderr, for `status`, and in the error that ends the wait."""

    def __init__(self, run: RunDirectory, world: World, begun: Callable[[], int]) -> None:
        """`begun`: this process's count."""
        self._run, self._world, self._begun = run, world, begun
        self._ended = threading.Event()
        self._behind: list[int] = []
        self._text = ""

    def __enter__(self) -> Self:
        if self._world.world_size > 1:
            self._write(0, 0.0)
            threading.Thread(target=self._watch, name="hangs", daemon=True).start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._ended.set()
        if error and self._text:
            error.add_note(self._text)
        with suppress(OSError):
            _file(self._run, self._world.rank).unlink(missing_ok=True)

    def _watch(self) -> None:
        last, since, still = -1, time.time(), False
        while not self._ended.wait(LOOK_S):
            if (now := self._begun()) != last:
                if still:
                    self._write(0, 0.0)
                last, since, still, self._behind, self._text = now, time.time(), False, [], ""
            elif still:  # for the second time, when the others have written, too
                self._look(now)
            elif time.time() - since > STILL_S:
                still = True
                self._write(now, since)

    def _write(self, begun: int, since: float) -> None:
        """Write in place and close, which NFS shows to other machines at once."""
        file = _file(self._run, self._world.rank)
        text = f"1 {begun} {since:.0f} process {os.getpid()} on {socket.gethostname()}"
        with suppress(OSError):  # a full disk ends no run
            file.parent.mkdir(exist_ok=True)
            with os.fdopen(opened(file, os.O_RDWR), "wb") as stream:
                stream.write(text.encode().ljust(_RECORD))

    def _look(self, begun: int) -> None:
        """Name those that have counted fewer, unless a lower rank does; one of them shows what it does instead."""
        if any(one[0] == begun for rank in range(self._world.rank) for one in _read(self._run, rank).values()):
            return
        said = _all(self._run)
        before, self._behind, self._text = self._behind, _behind(said), _in_words(said)
        if self._behind in (before, []):
            return
        if self._world.rank in self._behind:
            at = traceback.format_stack(sys._current_frames().get(threading.main_thread().ident or 0))
            sys.stderr.write(f"the other processes wait for rank {self._world.rank}, which is at:\n{''.join(at)}")
        else:
            sys.stderr.write(f"{self._text}\n")


def summary(run: RunDirectory) -> str:
    """Which processes the others wait for, in a line; empty if none."""
    return _in_words(_all(run))


def straggler(run: RunDirectory, rank: int, ratio: float) -> str:
    """That a process works so many times as long in each step as the median process."""
    who = "".join(f" ({who})" for _, _, who in _read(run, rank).values())
    return (
        f"rank {rank}{who} works {ratio:.1f} times as long in each step as the median process; the others wait for it"
    )


def _in_words(said: Said) -> str:
    if not (behind := _behind(said)):
        return ""
    names = ", ".join(f"rank {rank} ({said[rank][2]})" for rank in behind[:8]) + ", ..." * (len(behind) > 8)
    waited_s = time.time() - min(since for rank, (_, since, _) in said.items() if rank not in behind)
    return f"{len(said) - len(behind)} of {len(said)} processes have waited {age(waited_s)} for {names}"


def _behind(said: Said) -> list[int]:
    """The ranks that have begun less than those that wait; none if none waits."""
    most = max((begun for begun, _, _ in said.values()), default=0)
    return [rank for rank in sorted(said) if said[rank][0] < most]


def _all(run: RunDirectory) -> Said:
    """What each process says of itself."""
    names = (re.fullmatch("rank([0-9]+)-process", file.name) for file in run.at_work.glob("rank*-process"))
    return {rank: one for name in names if name for rank, one in _read(run, int(name[1])).items()}


def _read(run: RunDirectory, rank: int) -> Said:
    """What a process says of itself; nothing where there is no such file, or a damaged one."""
    with suppress(OSError, ValueError):
        if match := _FORM.fullmatch(_file(run, rank).read_text()):
            return {rank: (int(match[1]), float(match[2]), match[3])}
    return {}


def _file(run: RunDirectory, rank: int) -> Path:
    return run.at_work / f"rank{rank}-process"

"""Which process of a run hangs, while the others wait for it. Standard library only.

Each process counts what it begins: the phases of its steps, and collectives. All begin the same in the same order, so
one that hangs has counted fewer than those that wait for it. A process whose count stands still writes it to a file in
the run directory, and the first of those that wait names the others; while all go on, nothing is written. Files serve
for that, as the store of the process group hangs or ends with rank 0.
"""

import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from data import schema
from data.durable import opened
from trainer.rundir import RunDirectory
from trainer.terminal import age
from trainer.world import World

STILL_S = 60.0  # much longer than a step; where one compiles for longer than the others, they do wait for it
LOOK_S = 5.0

SCHEMA = 1

_RECORD = 512  # bytes: records of one size replace each other in a single write
_MOST = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """What a process says of itself."""

    host: str
    pid: int
    begun: int = 0
    """Its count, once that has stood still for `STILL_S`; else 0."""
    since: float = 0.0
    """Since when, seconds since 1970."""


class Watch:
    """Names the processes for which this one waits: on stderr, for `status`, and in the error that ends the wait."""

    def __init__(self, run: RunDirectory, world: World, begun: Callable[[], int]) -> None:
        """`begun`: this process's count."""
        self._run, self._world, self._begun = run, world, begun
        self._own = Process(host=socket.gethostname(), pid=os.getpid())
        self._ended = threading.Event()
        self._named: list[int] = []
        self._text = ""

    def __enter__(self) -> Self:
        if self._world.world_size > 1:
            self._write(self._own)
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
                    self._write(self._own)
                last, since, still, self._named, self._text = now, time.time(), False, [], ""
            elif still:  # for the second time, when the others have written, too
                self._look(now)
            elif time.time() - since > STILL_S:
                still = True
                self._write(replace(self._own, begun=now, since=since))

    def _write(self, process: Process) -> None:
        """Write in place and close, which NFS shows to other machines at once."""
        file = _file(self._run, self._world.rank)
        with suppress(OSError):  # a full disk ends no run
            file.parent.mkdir(exist_ok=True)
            with os.fdopen(opened(file, os.O_RDWR), "wb") as stream:
                stream.write(json.dumps({"schema": SCHEMA, **asdict(process)}).encode().ljust(_RECORD))

    def _look(self, begun: int) -> None:
        """Name those that have counted fewer, if no lower rank does; one of these shows what it does instead."""
        for rank in range(self._world.rank):
            if (other := _read(_file(self._run, rank))) and other.begun >= begun:
                return self._show_stack() if other.begun > begun else None
        processes = _all(self._run)
        names = _behind(processes)
        if self._world.rank in names:
            return self._show_stack()
        if names and names != self._named:
            self._named, self._text = names, _words(processes, names)
            sys.stderr.write(f"{self._text}\n")
        return None

    def _show_stack(self) -> None:
        if not self._named:
            self._named = [self._world.rank]
            at = traceback.format_stack(sys._current_frames().get(threading.main_thread().ident or 0))
            sys.stderr.write(f"the other processes wait for rank {self._world.rank}, which is at:\n{''.join(at)}")


def summary(run: RunDirectory) -> str:
    """Which processes the others wait for, in a line; empty if none."""
    processes = _all(run)
    names = _behind(processes)
    return _words(processes, names) if names else ""


def _words(processes: Mapping[int, Process], names: list[int]) -> str:
    each = [f"rank {rank} (process {processes[rank].pid} on {processes[rank].host})" for rank in names[:_MOST]]
    since = min(process.since for rank, process in processes.items() if rank not in names)
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    waiting = f"{len(processes) - len(names)} of {len(processes)} processes"
    return f"{waiting} have waited {age(time.time() - since)} for {', '.join(each)}{more}"


def _behind(processes: Mapping[int, Process]) -> list[int]:
    """The ranks that have begun less than those that wait; none if none waits."""
    most = max((process.begun for process in processes.values()), default=0)
    return [rank for rank, process in processes.items() if process.begun < most]


def _all(run: RunDirectory) -> dict[int, Process]:
    """What each process says of itself, by rank."""
    names = (re.fullmatch(r"rank(\d+)-process\.json", file.name) for file in run.at_work.glob("rank*-process.json"))
    ranks = sorted(int(name[1]) for name in names if name)
    return {rank: process for rank in ranks if (process := _read(_file(run, rank)))}


def _read(file: Path) -> Process | None:
    """What a process says of itself; None where there is no such file, or a damaged one."""
    try:
        content = schema.parse(file.read_bytes())
        known = schema.known_fields(Process, content)
        schema.check(content.get("schema"), SCHEMA, file)
        return Process(**known)
    except (OSError, ValueError, TypeError):
        return None


def _file(run: RunDirectory, rank: int) -> Path:
    return run.at_work / f"rank{rank}-process.json"

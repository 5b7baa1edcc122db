"""Lets one process at a time hold a run directory; a process that loses it notices. Standard library only.

Within one machine a file lock decides, which the kernel releases when a process dies. Between machines a lock may be
local to each, or missing: there the holder touches the file every few seconds, and a newcomer that sees this gives up.
Clocks of two machines are never compared. A touch writes no token, so it cannot overwrite another's.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from data.durable import naming
from trainer.checkpoint.holder_file import Holder, is_at, look, open_file, ourselves, write
from trainer.exits import BAD_INPUT, RunEndedError

BEAT_S = 5.0  # seconds between touches

_WATCH_BEATS = 4  # beats without a touch after which a holder counts as dead
_LOOK_S = 0.2  # seconds between two reads of a file that is watched


class HeldError(RunEndedError):
    """Another live process holds the run directory; the message names it, and the fix."""

    code = BAD_INPUT


class FencedError(RunEndedError):
    """Another process took this run directory over, or it was removed; the message says which."""


class Hold:
    """This process's hold of a run directory, kept alive by a thread until `release`."""

    token: str
    """Content of the file while this process holds the directory."""
    lost: bool
    """Whether the thread has read another token; at most one beat late."""

    def __init__(self, file: Path, holder: Holder, lock: int, beat_s: float) -> None:
        """Start to touch the file; `lock` is the descriptor that holds its lock."""
        self.token, self.lost = holder.token, False
        self._file, self._holder, self._lock, self._beat_s = file, holder, lock, beat_s
        self._folder = os.open(file.parent, os.O_RDONLY)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pulse, name="holder", daemon=True)
        self._thread.start()

    @classmethod
    def take(
        cls, file: Path, say: Callable[[str], None], should_stop: Callable[[], None], beat_s: float = BEAT_S
    ) -> Self:
        """Take the directory of `file`, which no live process may hold.

        Args:
            file: Names the holder; its folder exists.
            say: Called with a line on a wait, and on whom the directory is taken over from.
            should_stop: Called while waiting; may raise to end it.
            beat_s: Seconds between touches; the same in all processes.

        Raises:
            HeldError: Another process holds it.
            OSError: The file cannot be written.
        """
        newcomer = _Newcomer(file=file, ours=ourselves(), say=say, should_stop=should_stop, beat_s=beat_s)
        return cls(file, newcomer.ours, newcomer.win(), beat_s)

    def check(self) -> None:
        """Read the file; call this before writing what another holder could be writing too.

        Raises:
            FencedError: Another process holds the directory, or it was removed.
        """
        holder = look(self._file).holder
        if self._is_removed():
            self.lost = True
            how = "replaced by another folder" if self._file.parent.exists() else "removed"
            raise FencedError(f"{self._file.parent} was {how} while the run trained: what it held is gone from there")
        if holder and holder.token != self.token:
            self.lost = True
            raise FencedError(
                f"{self._file.parent} was taken over by {holder}; this process stops without writing anything more"
            )

    def release(self) -> None:
        """Give the directory up, unless another process has taken it over; a second call does nothing."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # if the file stays, it names a dead process
            holder = look(self._file).holder
            if holder and holder.token == self.token:
                self._file.unlink()
        os.close(self._lock)
        os.close(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _pulse(self) -> None:
        while not self.lost and not self._ended.wait(self._beat_s):
            with suppress(OSError):  # a file system may be away for a while; if for too long, another takes over
                self._beat()

    def _beat(self) -> None:
        holder = look(self._file).holder
        if self._is_removed():
            self.lost = True
        elif holder is None:  # removed or damaged by a person: a newcomer would see no holder
            self._write_again()
        elif holder.token == self.token:
            os.utime(self._file)
        else:
            self.lost = True
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # the new holder may be waiting for it

    def _is_removed(self) -> bool:
        """Whether the directory was removed or replaced, which a file system that is away for a while is not."""
        if self._file.parent.exists():
            return not is_at(self._folder, self._file.parent)
        try:
            return os.fstat(self._lock).st_nlink == 0
        except OSError as error:
            return error.errno == errno.ESTALE  # removed by another machine

    def _write_again(self) -> None:
        if not is_at(self._lock, self._file):  # the locked file was removed
            lock = open_file(self._file)
            os.close(self._lock)
            self._lock = lock
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write(self._lock, self._holder)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Newcomer:
    """A process that wants the directory."""

    file: Path
    ours: Holder
    say: Callable[[str], None]
    should_stop: Callable[[], None]
    beat_s: float

    def win(self) -> int:
        """Write our token once no live process holds the file; returns its descriptor, locked if possible."""
        while True:
            self.should_stop()
            lock = open_file(self.file)
            try:
                locked = self._lock(lock)
                self._outlive()
                if is_at(lock, self.file):  # else its holder has removed it meanwhile, and another may be created
                    with naming(self.file):
                        write(lock, self.ours)
                    self._settle(0 if locked else 5 * _LOOK_S)
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)

    def _lock(self, lock: int) -> bool:
        """Whether the file could be locked; not all file systems have locks."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._supersede(lock)
        except OSError:
            return False
        return True

    def _outlive(self) -> None:
        """Make sure that the process in the file is gone; a lock local to this machine does not prove it."""
        holder = look(self.file).holder
        if holder is None or holder.token == self.ours.token:
            return
        held = f"{self.file.parent} was held by {holder}"
        if holder.precedes(self.ours):
            self.say(f"{held}, which Slurm replaced by this one; taken over")
            return
        if holder.lives_here:
            raise self._held(holder)
        if not holder.died_here:
            self._watch(holder)
        self.say(f"{held}, which is gone; taken over")

    def _settle(self, seconds: float) -> None:
        """Without a lock another process may write its token at the same time: the last one to write wins."""
        for _ in self._looks(seconds):
            holder = look(self.file).holder
            if holder and holder.token != self.ours.token:
                raise self._held(holder)

    def _supersede(self, lock: int) -> None:
        """Take a locked file from the process that Slurm replaced by this one, for the same job."""
        holder = self._named_holder()
        if holder is None or not holder.precedes(self.ours):
            raise self._held(holder)
        self.say(f"{self.file.parent} is held by {holder}, which Slurm replaced by this one; taking it over")
        write(lock, self.ours)  # without the lock, which it releases at its next beat
        for _ in self._looks(_WATCH_BEATS * self.beat_s):
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        # it hangs, as on a node that was cut off; if it wakes, it reads our token before it writes

    def _watch(self, holder: Holder) -> None:
        seconds = _WATCH_BEATS * self.beat_s
        self.say(f"{self.file.parent} was held by {holder}; watching for {seconds:g} s whether it is alive")
        before = look(self.file)
        for _ in self._looks(seconds):
            if look(self.file) != before:
                raise self._held(holder)

    def _named_holder(self) -> Holder | None:
        """The process that has the lock; it writes its name a moment later."""
        for _ in self._looks(5 * _LOOK_S):
            if (holder := look(self.file).holder) and not holder.died_here:
                return holder
        return None

    def _looks(self, seconds: float) -> Iterator[None]:
        end = time.monotonic() + seconds
        yield
        while time.monotonic() < end:
            self.should_stop()
            time.sleep(_LOOK_S)
            yield

    def _held(self, holder: Holder | None) -> HeldError:
        name = holder or "an unknown process"
        fix = "wait for it, stop it, or name another --output"
        return HeldError(f"--output: {self.file.parent} is in use by {name}; {fix}")

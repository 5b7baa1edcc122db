"""Who holds a run directory: one process at a time, and one that was taken over notices. Standard library only.

Within one machine a lock decides, which the kernel gives back when a process dies. Between machines a lock may be local
to each, or missing: there the holder touches the file every few seconds, and a newcomer that sees it touched goes away.
Clocks of two machines are never compared. Nobody overwrites another's token by mistake: a touch carries none.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainer.checkpoint.holder_file import Holder, is_at, look, open_file, ourselves, write
from trainer.exits import BAD_INPUT, RunEndedError

BEAT_S = 5.0  # seconds between touches

_WATCH_BEATS = 4  # how long a file must lie still before its holder counts as dead, in beats
_LOOK_S = 0.2  # seconds between two looks at a file that is watched


class HeldError(RunEndedError):
    """Another live process holds the run directory; the message says which, and what to do."""

    code = BAD_INPUT


class FencedError(RunEndedError):
    """Another process took this run directory over; the message says which."""


class Hold:
    """This process's hold of a run directory, kept alive by a thread until `release`."""

    token: str
    """What the file holds as long as the directory is ours."""
    lost: bool
    """Whether the thread found another's token; costs nothing to ask, and is at most a beat late."""

    def __init__(self, file: Path, holder: Holder, lock: int, beat_s: float) -> None:
        """Keep a directory that `take` has won; `lock` is the file descriptor that carries the lock."""
        self.token, self.lost = holder.token, False
        self._file, self._holder, self._lock, self._beat_s = file, holder, lock, beat_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pulse, name="holder", daemon=True)
        self._thread.start()

    @classmethod
    def take(
        cls, file: Path, say: Callable[[str], None], should_stop: Callable[[], None], beat_s: float = BEAT_S
    ) -> Self:
        """Take the directory that `file` lies in, from nobody or from a dead process.

        Args:
            file: Where the holder is written; its folder exists.
            say: Told in a line what is waited for, and from whom the directory was taken over.
            should_stop: Called while waiting; ends that by raising.
            beat_s: Seconds between touches; the same in all processes.

        Raises:
            HeldError: Another process holds it.
            OSError: The file cannot be written.
        """
        newcomer = _Newcomer(file=file, ours=ourselves(), say=say, should_stop=should_stop, beat_s=beat_s)
        return cls(file, newcomer.ours, newcomer.win(), beat_s)

    def check(self) -> None:
        """Read the file, before anything is written that another process could be writing too.

        Raises:
            FencedError: The directory is no longer ours.
        """
        found = look(self._file).holder
        if found and found.token != self.token:
            self.lost = True
            raise FencedError(
                f"{self._file.parent} was taken over by {found}; this process stops without writing anything more"
            )

    def release(self) -> None:
        """Give the directory back, once; does nothing to what another process has taken over."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # not worth failing for: a file that stays is taken over from a dead process
            found = look(self._file).holder
            if found and found.token == self.token:
                self._file.unlink()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _pulse(self) -> None:
        while not self.lost and not self._ended.wait(self._beat_s):
            with suppress(OSError):  # a file system may be away for a while; if that is too long, another takes over
                self._beat()

    def _beat(self) -> None:
        found = look(self._file).holder
        if found is None:  # removed or damaged by a person: a newcomer would see nobody
            self._write_again()
        elif found.token == self.token:
            os.utime(self._file)
        else:
            self.lost = True
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # who took over may be waiting for it

    def _write_again(self) -> None:
        if not is_at(self._lock, self._file):  # what we hold has no name any more
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
        """Write our token once nobody alive holds the file; gives its descriptor, locked where there are locks."""
        while True:
            self.should_stop()
            lock = open_file(self.file)
            try:
                locked = self._lock(lock)
                self._outlive()
                if is_at(lock, self.file):  # else its holder has removed it meanwhile, and another may be made
                    write(lock, self.ours)
                    self._settle(0 if locked else 5 * _LOOK_S)
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)

    def _lock(self, lock: int) -> bool:
        """Lock the file, if the file system can."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._supersede(lock)
        except OSError:
            return False
        return True

    def _outlive(self) -> None:
        """Make sure that whoever the file names is gone; with a lock of this machine alone it may live elsewhere."""
        holder = look(self.file).holder
        if holder is None or holder.token == self.ours.token:
            return
        who = f"{self.file.parent} was held by {holder}"
        if holder.precedes(self.ours):
            self.say(f"{who}, in whose place Slurm started this one; taken over")
            return
        if holder.lives_here:
            raise self._held(holder)
        if not holder.died_here:
            self._watch(holder)
        self.say(f"{who}, which is gone; taken over")

    def _settle(self, seconds: float) -> None:
        """Let another that found the same file without a lock write its token too: the last one has won."""
        for _ in self._looks(seconds):
            holder = look(self.file).holder
            if holder and holder.token != self.ours.token:
                raise self._held(holder)

    def _supersede(self, lock: int) -> None:
        """Take a locked file from the process that Slurm gave up when it started this one for the same job."""
        holder = self._named_holder()
        if holder is None or not holder.precedes(self.ours):
            raise self._held(holder)
        self.say(f"{self.file.parent} is held by {holder}, in whose place Slurm started this one; taking it over")
        write(lock, self.ours)  # without the lock, which it gives back at its next beat
        for _ in self._looks(_WATCH_BEATS * self.beat_s):
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        # it hangs, as on a node that was cut off; should it wake, it finds our token before it writes

    def _watch(self, holder: Holder) -> None:
        seconds = _WATCH_BEATS * self.beat_s
        self.say(f"{self.file.parent} was held by {holder}; watching for {seconds:g} s whether that still lives")
        before = look(self.file)
        for _ in self._looks(seconds):
            if look(self.file) != before:
                raise self._held(holder)

    def _named_holder(self) -> Holder | None:
        """Who has the lock; its name follows the lock by a moment."""
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
        who = holder or "a process that has not given its name"
        mend = "wait for it, stop it, or name another --output"
        return HeldError(f"--output: {self.file.parent} is in use by {who}; {mend}")

"""Writes checkpoints in a thread beside training, when they are due."""

import errno
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from data.schema import NewerSchemaError
from trainer.checkpoint import files, retention, store
from trainer.checkpoint.retention import GB, Existing, Limits
from trainer.checkpoint.snapshot import Snapshot, tree_bytes
from trainer.exits import FAILED, RunEndedError, code_of
from trainer.recipe.config import SiteConfig
from trainer.recipe.decode import InvalidConfigError

_FIXES = {
    errno.ENOSPC: "make room there, or lower --keep-checkpoints",
    errno.EDQUOT: "raise the quota, or lower --keep-checkpoints",
    errno.EACCES: "let this user write there",
    errno.EROFS: "mount it writable",
}

_log = logging.getLogger(__name__)


class Saver:
    """Writes checkpoints one at a time, each in a thread, and removes old ones (rank 0 only).

    The owner must call `finish` at the end, which raises the error of the last write.
    """

    stall_s: float | None = None
    """Seconds that the newest `begin` blocked its caller: the snapshot, and a wait for an earlier write if any."""
    write_s: float | None = None
    """Seconds that the newest successful write took in the thread."""
    failure_code: int = FAILED
    """Exit code of a run that the newest failure ends."""

    def __init__(self, folder: Path, site: SiteConfig, guard: Callable[[], None], token: str | None = None) -> None:
        """Create a saver; nothing is written yet.

        `guard` raises if another process has taken the run directory over; nothing in it is changed then.
        `token`: of this process, for the manifests.
        """
        self._folder, self._site, self._guard, self._token = folder, site, guard, token
        budget = None if site.checkpoints_gb is None else int(site.checkpoints_gb * GB)
        self._limits = Limits(keep_checkpoints=site.keep_checkpoints, keep_best=site.keep_best, budget=budget)
        self._snapshot = Snapshot()
        self._thread: threading.Thread | None = None
        self._begun = time.monotonic()
        self._owed = False
        self._failure: str | None = None
        self._error: BaseException | None = None

    def reserve(self, count: int, device: torch.device) -> None:
        """Allocate host memory for a checkpoint of `count` bytes; see `Snapshot.reserve`."""
        self._snapshot.reserve(count, device)

    @property
    def failure(self) -> str | None:
        """Why the newest finished write failed, for the user; None if it succeeded."""
        return self._failure

    def due(self, step: int) -> bool:
        """Whether to save at this step, by the clock or the count of steps; during a write, only after its end.

        Also true if the last write ended in an error, which `begin` then raises.
        """
        every = self._site.save_steps
        by_count = every is not None and step % every == 0
        self._owed |= by_count or time.monotonic() - self._begun >= self._site.save_minutes * 60
        writing = self._thread is not None and self._thread.is_alive()
        return not writing and (self._owed or self._error is not None)

    def begin(self, step: int, tree: dict[str, Any], top1: float | None = None) -> None:
        """Copy the tree, and write the copy in the background; `top1`: of these weights, percent.

        A valid checkpoint of the same step is not written again, unless with a new top-1.

        Raises:
            BaseException: An error of the guard, or a bug, in an earlier write.
        """
        start = time.monotonic()
        self.finish()
        self._owed, self._begun = False, start
        copy = self._snapshot.take(tree)
        # no daemon: the interpreter does not end before it
        self._thread = threading.Thread(target=self._run, args=(step, copy, top1), name="checkpoint")
        self._thread.start()
        self.stall_s = time.monotonic() - start

    def finish(self) -> None:
        """Wait for the end of a write.

        Raises:
            BaseException: As `begin`.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, step: int, tree: dict[str, Any], top1: float | None) -> None:
        start = time.monotonic()
        try:
            self._snapshot.ready()
            self._save(step, tree, top1)
        except _GuardError as error:
            self._error = error.__cause__
        except OSError as error:
            self.failure_code = code_of(error) if error.errno else FAILED
            self._failure = f"the checkpoint of step {step:,} was not written: {self._words(error)}"
        except BaseException as error:  # a bug: raised in the caller's thread
            self._error = error
        else:
            self._failure, self.write_s = None, time.monotonic() - start

    def _save(self, step: int, tree: dict[str, Any], top1: float | None) -> None:
        self._check()
        self._make_folder()
        files.settle(self._folder)
        if not self._has(step, top1):
            self._evict(Existing(step=step, top1=top1, bytes=tree_bytes(tree)))
            store.write(self._folder, step, tree, top1, self._token, self._check)
        self._remove(retention.surplus(self._existing(), self._limits, step), "")

    def _make_folder(self) -> None:
        if self._folder.is_dir():
            return
        self._folder.mkdir()  # without the run directory: if that was removed, nothing is left to go on with
        if self.write_s is not None:
            _log.warning("%s was removed, with all checkpoints in it; it is made again", self._folder)

    def _check(self) -> None:
        try:
            self._guard()
        except OSError:  # the disk's, as of any other file
            raise
        except Exception as error:  # marked, as the write itself may raise the same kinds
            raise _GuardError from error

    def _has(self, step: int, top1: float | None) -> bool:
        path = files.place(self._folder, step)
        return files.damage(path) is None and top1 in (None, files.read_manifest(path).top1)

    def _evict(self, new: Existing) -> None:
        existing = self._existing()
        used = sum(one.bytes for one in existing)
        if self._limits.budget is not None and used + new.bytes > self._limits.budget:
            newest = files.newest_valid(self._folder)
            try:
                steps = retention.evicted(existing, new, self._limits, files.step_of(newest) if newest else None)
            except ValueError as error:
                raise OSError(f"{self._folder}: {error}") from None
            self._remove(steps, f" for --checkpoints-gb {self._site.checkpoints_gb:g}")
        free = shutil.disk_usage(self._folder).free
        if problem := retention.space_problem(self._folder, new.bytes, free):
            raise OSError(problem)

    def _existing(self) -> list[Existing]:
        """The checkpoints in the folder, except those of other versions."""
        existing: list[Existing] = []
        for path in files.newest_first(self._folder):
            try:
                top1 = files.read_manifest(path).top1
            except (files.OtherSchemaError, NewerSchemaError):
                continue
            except (OSError, ValueError):
                top1 = None
            valid = files.damage(path, hashes=False) is None
            existing.append(Existing(step=files.step_of(path), top1=top1, bytes=files.bytes_of(path), valid=valid))
        return existing

    def _remove(self, steps: list[int], why: str) -> None:
        for step in steps:
            path = files.place(self._folder, step)
            if why:
                _log.warning("%s is removed%s", path, why)
            try:
                files.discard(path)
            except OSError as error:  # the new one is written in any case
                _log.warning("%s cannot be removed: %s", path, error.strerror)

    def _words(self, error: OSError) -> str:
        if not error.strerror:  # one of ours, with a whole message
            return str(error)
        fix = _FIXES.get(error.errno or 0)
        return f"{error.filename or self._folder}: {error.strerror}{f'; {fix}' if fix else ''}"


def write_now(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> None:
    """Write a checkpoint of another loop than ours, and remove all but the newest `keep`.

    Raises:
        InvalidConfigError: The state cannot be stored.
        RunEndedError: The disk is full, or the like.
    """
    saver = Saver(folder, SiteConfig(data=folder, output=folder, keep_checkpoints=keep), lambda: None)
    try:
        saver.begin(step, {"about": {}, **state, "step": step})
        saver.finish()
    except (TypeError, AttributeError, LookupError) as error:
        raise InvalidConfigError([f"state: {error}; expected tensors by name as model, and plain values"]) from None
    if saver.failure:
        failed = RunEndedError(saver.failure)
        failed.code = saver.failure_code
        raise failed


class _GuardError(Exception):
    """The guard raised; its exception is the cause."""

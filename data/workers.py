"""Processes that share one long task."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from typing import Literal, TypeVar

MOST = 256

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """CPU cores this process may run on, which under Slurm or taskset are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number(asked: int | Literal["auto"]) -> int:
    """How many processes to use; auto: one for each core."""
    return min(cores(), MOST) if asked == "auto" else asked


def bad_workers(workers: int) -> list[str]:
    """Why there cannot be so many; empty where there can."""
    return [] if 1 <= workers <= MOST else [f"--workers: {workers}; must be at least 1 and at most {MOST}"]


def each(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Generator[Result]:
    """Yield function(item) for all items, in the order they get done; `workers` = 1: in this process.

    Closed early, it waits for the items in hand and forgets the others. Workers never see Ctrl-C: this process does.

    Raises:
        BrokenExecutor: A worker was killed.
    """
    if min(workers, len(items)) <= 1:
        yield from map(function, items)
        return
    # spawn: a fork would copy the caller's threads' locks (torch, rich) in whatever state they are
    pool = ProcessPoolExecutor(min(workers, len(items)), get_context("spawn"), initializer=_end_with_parent)
    try:
        for future in as_completed(_submit(pool, function, items)):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Future[Result]]:
    """Start the processes from a thread: there Ctrl-C cannot tear a start in two, and its signal mask is theirs."""
    with ThreadPoolExecutor(
        1, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, {signal.SIGINT})
    ) as starter:
        return starter.submit(lambda: [pool.submit(function, item) for item in items]).result()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever: it holds the writing end of its own queue."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

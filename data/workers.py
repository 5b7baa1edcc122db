"""A long task divided among processes."""

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


def number(workers: int | Literal["auto"]) -> int:
    """The number of processes; auto: one for each core."""
    return min(cores(), MOST) if workers == "auto" else workers


def bad_workers(workers: int) -> list[str]:
    """Why there cannot be so many, one line; empty where there can."""
    return [] if 1 <= workers <= MOST else [f"--workers: {workers}; must be at least 1 and at most {MOST}"]


def each(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Generator[Result]:
    """Yield function(item) for all items, in the order they are finished; with one worker, in this process.

    Closed early, it waits for the items that were begun and drops the others. Workers ignore Ctrl-C.

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
    """Start the processes from a thread, whose signal mask they inherit, and where Ctrl-C cannot interrupt a start."""
    with ThreadPoolExecutor(
        1, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, {signal.SIGINT})
    ) as starter:
        return starter.submit(lambda: [pool.submit(function, item) for item in items]).result()


def _end_with_parent() -> None:
    """End this worker with its parent: it holds the writing end of its own queue, and would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

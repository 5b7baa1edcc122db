"""A long task divided among processes."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
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


def each(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result]:
    """Yield function(item) for all items, in the order they are finished; with one worker, in this process, one by one.

    Closed early, it waits for the items that were begun and drops the others. Workers ignore Ctrl-C.

    Raises:
        BrokenExecutor: A worker was killed.
    """
    if workers > 1:
        items = list(items)
        workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    # spawn: a fork would copy the caller's threads' locks (torch, rich) in whatever state they are
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent)
    try:
        for future in as_completed(_submit(pool, function, items)):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
) -> list[Future[Result]]:
    return _uninterrupted(lambda: [pool.submit(function, item) for item in items])


@contextmanager
def behind(work: Callable[[], object]) -> Iterator[None]:
    """Let a process of the lowest priority do some work until the block or the process ends; an error ends it silently.

    Args:
        work: Can be pickled, and leaves nothing incomplete when it is killed.
    """
    process = get_context("spawn").Process(target=_behind, args=(work,), daemon=True)
    _uninterrupted(process.start)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _behind(work: Callable[[], object]) -> None:
    os.nice(19)
    _end_with_parent()
    with suppress(Exception):
        work()


def _uninterrupted(start: Callable[[], Result]) -> Result:
    """Start processes in a thread: Ctrl-C does not interrupt it, nor the processes, which inherit its signal mask."""
    with ThreadPoolExecutor(
        1, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, {signal.SIGINT})
    ) as starter:
        return starter.submit(start).result()


def _end_with_parent() -> None:
    """End this worker with its parent: it holds the writing end of its own queue, and would wait for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

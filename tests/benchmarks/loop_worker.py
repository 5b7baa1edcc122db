"""`python -m tests.benchmarks.loop_worker TASK`: a training loop in a process of its own, or in each of several ranks.

Rank 0 says what it has to say as lines of JSON on standard output: `ready`, then one line for each turn. A turn is a
line on its standard input. The end of the input ends all ranks.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from tests.benchmarks import config
from tests.benchmarks.config import LoopTask
from tests.benchmarks.contestant import lines_out
from trainer.world import World, from_environment

if TYPE_CHECKING:
    from tests.benchmarks.resident import Opened


def main() -> None:
    """Serve one loop."""
    say = lines_out()
    task, world = config.decode(sys.argv[1]), from_environment()
    with ExitStack() as stack:
        loop = _open(task, world, stack)
        if world.is_main:
            say({"ready": True})
        while loop.agreed(world.is_main and bool(sys.stdin.readline())):
            start, used = perf_counter(), process_time()
            loop.turn()
            seconds, used = perf_counter() - start, process_time() - used
            if world.is_main:
                images = task.steps * task.batch
                rate = images * world.world_size / seconds
                say({"images_per_s": rate, "cpu_ms": 1e3 * used / images, "peak": peak_bytes()})


def peak_bytes() -> int:
    """Most memory that this process has held, on its GPU where it has one; of its own, whoever started it."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    # getrusage would count what the parent held when it forked
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def _open(task: LoopTask, world: World, stack: ExitStack) -> Opened:
    if task.loop == "bare":  # which must not load ours: its memory is measured
        from tests.benchmarks import bare

        return bare.open_loop(task, world)
    from tests.benchmarks import our_loop

    return our_loop.open_loop(task, world, stack)


if __name__ == "__main__":
    main()

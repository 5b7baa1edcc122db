"""Our fit loop beside a bare one, each in a process of its own, on a resident batch: rate, CPU time, peak memory."""

from contextlib import ExitStack, closing

from tests.benchmarks.config import BenchConfig, LoopTask
from tests.benchmarks.loop_contestant import LoopContestant
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns

RATE, SMALL_RATE, MEMORY = Goal("at least", 0.98), Goal("at least", 0.95), Goal("at most", 1.05)
MB = 1e6

_SMALL = 32  # pixels: steps are tiny then


def measure(task: LoopTask, config: BenchConfig) -> list[Pair]:
    """Both in turns, after one turn each that does not count.

    Raises:
        tests.benchmarks.contestant.FailedError: A loop ended.
    """
    with ExitStack() as running:
        ours, bare = (running.enter_context(closing(LoopContestant(task.by(loop)))) for loop in ("ours", "bare"))
        for loop in (ours, bare):
            loop.turn()
        rates = in_turns((ours.turn, bare.turn), config.rounds)
        # other programs take a loop's time, and less of its CPU time
        cpu_ms = [loop.cpu_ms[1:] for loop in (ours, bare)]
    what = f"{task.network}, {task.image_size} px, {task.batch} images, {task.precision}"
    goal = SMALL_RATE if task.image_size <= _SMALL else RATE
    return [
        compare(f"engine against a bare loop: {what}", "images/s", rates[0], rates[1], goal),
        compare(f"its CPU time per image: {what}", "ms", cpu_ms[0], cpu_ms[1]),
        compare(f"its peak memory: {what}", "MB", [ours.peak / MB], [bare.peak / MB], MEMORY),
    ]

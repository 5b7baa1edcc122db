"""What it costs to be watched: our loop with clocks, norms, records and TensorBoard, beside itself without."""

from contextlib import ExitStack, closing

from tests.benchmarks.config import BenchConfig, LoopTask
from tests.benchmarks.loop_contestant import LoopContestant
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns

GOAL = Goal("at least", 0.99)


def measure(task: LoopTask, config: BenchConfig) -> list[Pair]:
    """Both in turns, after one turn each that does not count; a point is logged in each turn.

    Raises:
        tests.benchmarks.contestant.FailedError: A loop ended.
    """
    with ExitStack() as running:
        watched, silent = (running.enter_context(closing(LoopContestant(task.by(loop)))) for loop in ("ours", "silent"))
        for loop in (watched, silent):
            loop.turn()
        rates = in_turns((watched.turn, silent.turn), config.rounds)
        cpu_ms = [loop.cpu_ms[1:] for loop in (watched, silent)]
    what = (
        f"{task.network}, {task.image_size} px, {task.batch} images, {task.precision}, a point each {task.steps} steps"
    )
    return [
        compare(f"watched against unwatched: {what}", "images/s", rates[0], rates[1], GOAL),
        compare(f"its CPU time per image: {what}", "ms", cpu_ms[0], cpu_ms[1]),
    ]

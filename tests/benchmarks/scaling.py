"""Two ranks with a thread each beside one rank with one, each with the same images per rank: ours and bare DDP."""

from contextlib import ExitStack, closing

from tests.benchmarks.config import BenchConfig, LoopTask
from tests.benchmarks.loop_contestant import LoopContestant
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns

GOAL = Goal("at least", 0.85)
RANKS = 2


def measure(task: LoopTask, config: BenchConfig) -> list[Pair]:
    """All four in turns, after one turn each that does not count; two ranks are started by torchrun, as users do.

    Raises:
        tests.benchmarks.contestant.FailedError: A loop ended.
    """
    with ExitStack() as running:
        alone, together, bare_alone, bare_together = (
            running.enter_context(closing(LoopContestant(task.by(loop, threads=1), ranks)))
            for loop in ("ours", "bare")
            for ranks in (1, RANKS)
        )
        contestants = (alone, together, bare_alone, bare_together)
        for loop in contestants:
            loop.turn()
        rates = in_turns([loop.turn for loop in contestants], config.rounds)
    what = f"{task.network}, {task.image_size} px, {task.batch} images a rank, {task.precision}"
    twice, bare_twice = ([RANKS * rate for rate in rates[place]] for place in (0, 2))
    return [
        compare(
            f"{RANKS} ranks against {RANKS} times one rank, a thread each: {what}", "images/s", rates[1], twice, GOAL
        ),
        compare("the same of a bare DDP loop", "images/s", rates[3], bare_twice),
        compare(f"{RANKS} ranks of ours against {RANKS} of bare DDP", "images/s", rates[1], rates[3]),
    ]

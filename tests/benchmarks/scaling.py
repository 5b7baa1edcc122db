"""Ranks of a thread each beside one such rank, each with the same images per rank: ours and bare DDP."""

from contextlib import ExitStack, closing

from data.workers import cores
from tests.benchmarks.config import BenchConfig, LoopTask
from tests.benchmarks.loop_contestant import LoopContestant
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns

GOAL, BARE_GOAL = Goal("at least", 0.97), Goal("at least", 0.99)


def measure(task: LoopTask, config: BenchConfig) -> list[Pair]:
    """All in turns, after one turn each that does not count; several ranks are started by torchrun, as users do.

    Raises:
        tests.benchmarks.contestant.FailedError: A loop ended.
    """
    ranks = config.ranks
    with ExitStack() as running:
        together, bare_together, *alone = (
            running.enter_context(closing(LoopContestant(task.by(loop, threads=1), count)))
            for count in ((ranks, 1) if ranks <= cores() else (ranks,))
            for loop in ("ours", "bare")
        )
        contestants = (together, bare_together, *alone)
        for loop in contestants:
            loop.turn()
        rates, bare_rates, *single = in_turns([loop.turn for loop in contestants], config.rounds)
    what = f"{task.network}, {task.image_size} px, {task.batch} images a rank, {task.precision}"
    pairs = [
        compare(f"{ranks} ranks against as many of bare DDP: {what}", "images/s", rates, bare_rates, BARE_GOAL),
    ]
    for name, many, one, goal in zip(("ours", "bare DDP"), (rates, bare_rates), single, (GOAL, None), strict=False):
        times = [ranks * rate for rate in one]
        title = f"{name}, {ranks} ranks against {ranks} times one rank, a thread each: {what}"
        pairs.append(compare(title, "images/s", many, times, goal))
    return pairs

"""From the start of `provenet train` to its first step done, beside what no trainer can start without."""

import sys

from tests.benchmarks import our_program, programs
from tests.benchmarks.config import BenchConfig
from tests.benchmarks.our_program import Work
from tests.benchmarks.pairs import Goal, Pair, compare, in_turns
from tests.benchmarks.programs import Program

GOAL = Goal("at most", 1.3)


def measure(work: Work, config: BenchConfig) -> list[Pair]:
    """Both in turns; the files are in the system's cache by a first start of each that does not count.

    Raises:
        tests.benchmarks.contestant.FailedError: A program ended early.
    """
    batches, firsts = list[float](), list[float]()

    def ours() -> float:
        return programs.steps(our_program.train(work, "bf16", channels_last=True), 1)[0]

    def bare() -> float:
        batch, step = programs.steps(first_batch(work), 2)
        batches.append(batch)
        firsts.append(step)
        return batch

    in_turns((ours, bare), 1)
    batches.clear()
    firsts.clear()
    own, _ = in_turns((ours, bare), config.starts)
    what = f"{work.network}, {work.image_size} px, {work.batch} images"
    return [
        compare(f"start to first step against imports, network and first batch: {what}", "s", own, batches, GOAL),
        compare("the same against these and a first step", "s", own, firsts, GOAL),
    ]


def first_batch(work: Work) -> Program:
    """A bare script that says when its batch is there, and when its step is done."""
    train = work.images.root / "train"
    words = (train, work.network, work.images.classes, work.image_size, work.batch)
    return Program(
        name="bare script",
        command=(sys.executable, "-P", "-m", "tests.benchmarks.first_batch", *map(str, words)),
        threads=work.threads,
        done="^done: ",
    )

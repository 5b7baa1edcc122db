"""`python -m tests.gpu.section NAME STAGE`: one section, in a process of its own; its checks as lines of JSON."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module

from tests.benchmarks.contestant import lines_out
from tests.gpu.stage import Check, Stage


@dataclass(frozen=True, slots=True)
class Section:
    """One part of an acceptance run."""

    work: str
    """Module here and function; imported where it is done, as torch and what is built on it take seconds to load."""
    limit_s: int
    """It is killed then; what is left of the whole time may be less."""

    def load(self) -> Callable[[Stage], Iterator[Check]]:
        """The function."""
        module, _, function = self.work.partition(".")
        return getattr(import_module(f"tests.gpu.{module}"), function)


SECTIONS = {
    "versions": Section("machine.versions", 40),
    "pytest": Section("machine.pytest_gpu", 90),
    "decoding": Section("decoding.pixels", 70),
    "race": Section("decoding.race", 80),
    "engine": Section("speed.engine", 110),
    "end-to-end": Section("speed.end_to_end", 150),
    "micro-batch": Section("speed.micro_batch", 80),
    "compile": Section("results.compiled", 110),
    "deterministic": Section("results.deterministic", 90),
    "checkpoint": Section("saving.checkpoints", 70),
    "evaluation": Section("results.evaluation", 70),
    "launchers": Section("machine.launchers", 80),
    "memory": Section("machine.out_of_memory", 60),
}
IMAGES = Section("machine.images", 90)
"""Comes before all others."""


def main() -> None:
    """Do one section."""
    say = lines_out()
    section = IMAGES if sys.argv[1] == "images" else SECTIONS[sys.argv[1]]
    for check in section.load()(Stage.decode(sys.argv[2])):
        say(asdict(check))


if __name__ == "__main__":
    main()

"""`python -m tests.benchmarks`: speed as ratios, each side in turns, on one machine in one run."""

import sys

from trainer.commands import cli
from trainer.commands.cli import Verb

VERBS = {
    "loaders": Verb("tests.benchmarks.loaders_command", "Loaders"),
    "training": Verb("tests.benchmarks.training_command", "Training"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    return cli.main(arguments, VERBS, "python -m tests.benchmarks")


if __name__ == "__main__":
    sys.exit(main())

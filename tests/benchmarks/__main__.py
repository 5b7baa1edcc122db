"""`python -m tests.benchmarks`: speed as ratios, each side in turns, on one machine in one run."""

import sys

import tyro

from data.commandline import hush, plain_refusals, union
from tests.benchmarks.loaders_command import Loaders
from tests.benchmarks.training_command import Training
from trainer.exits import INTERRUPTED

COMMANDS: dict[str, type] = {"loaders": Loaders, "training": Training}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with plain_refusals(arguments):
            command: Loaders | Training = tyro.cli(
                union(COMMANDS, arguments), args=arguments, prog="python -m tests.benchmarks"
            )
        hush(command.quiet)
        return command.run()
    except BrokenPipeError:  # the reader of --help has seen enough
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was written\n")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())

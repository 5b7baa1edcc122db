"""What each task of a job runs. Standard library only: submitit pickles it, and the login node has no need of torch."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainJob:
    """`python -m trainer` with these arguments, in a process that `srun` started."""

    arguments: tuple[str, ...]
    """What follows `python -m trainer`."""

    def __call__(self) -> None:
        """Train, and end the process with the trainer's exit code, so that Slurm sees it."""
        from trainer.cli import main

        sys.exit(main(list(self.arguments)))

"""`python -m launch.worker FOLDER`: what a job's script runs, and then submitit there."""

import sys
from pathlib import Path

from launch.submission import unsafe
from trainer.exits import refuse, trace_crashes


def main(folder: Path) -> int:
    """Run the job that was left in the folder, if nobody else can have put it there."""
    if problem := unsafe(folder):
        return refuse([f"{problem}; what lies in {folder} is not run"])
    from launch import slurm

    slurm.work(folder)
    return 0


if __name__ == "__main__":
    trace_crashes()
    sys.exit(main(Path(sys.argv[1])))

"""`python -m launch.worker FOLDER`: what a job's script runs. Lets submitit run the job that FOLDER holds."""

import sys
from pathlib import Path

from launch.submission import unsafe
from trainer.exits import refuse, trace_crashes


def main(folder: Path) -> int:
    """Run the job that is pickled in the folder, unless another user could have written it."""
    if problem := unsafe(folder):
        return refuse([f"{problem}; the job in {folder} is not run"])
    from launch import slurm

    slurm.work(folder)
    return 0


if __name__ == "__main__":
    trace_crashes()
    sys.exit(main(Path(sys.argv[1])))

"""`python -m launch.worker`: what a job's script runs; the script holds the jobs, and passes them as its input."""

import os
import sys

from launch import job
from trainer.exits import trace_crashes


def main() -> None:
    """Run the job that is this process's."""
    job.own(sys.stdin.read(), os.environ)()


if __name__ == "__main__":
    trace_crashes()
    main()

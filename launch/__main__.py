"""`python -m launch`: what jobs in a queue run; for people, it is `provenet`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[1])
    if sys.path[0] != root:  # the current folder may hold a data.py or a folder models
        sys.path.insert(0, root)
    from launch.cli import console

    console()

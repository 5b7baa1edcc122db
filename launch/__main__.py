"""`python -m launch`: what jobs in a queue run; for people, it is `provenet`."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
if (
    __name__ == "__main__" and sys.path[0] != ROOT
):  # the folder that one stands in may hold a data.py or a folder models
    sys.path.insert(0, ROOT)

if __name__ == "__main__":
    from launch.cli import console

    console()

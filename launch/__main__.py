"""The console script `provenet`, and `python -m launch`, which jobs in a queue run."""

import sys
from pathlib import Path
from typing import NoReturn


def console() -> NoReturn:
    """Run the command, with our modules ahead of others on the path: PYTHONPATH too may hold a data.py or models."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch import cli

    cli.console()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder where the command was typed, which may hold a numpy.py
    console()

"""`python -m trainer`."""

import sys

from trainer.cli import main
from trainer.cpu import keep_memory
from trainer.exits import record


def run() -> int:
    """Run one command, and leave its exit code to whoever launched it."""
    try:
        code = main()
    except SystemExit as end:  # tyro's, which has said why
        code = int(end.code or 0)
    record(code)
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        keep_memory()
    sys.exit(run())

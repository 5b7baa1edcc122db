"""`python -m trainer`: what launchers start; for people, it is `provenet`."""

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ROOT = str(Path(__file__).resolve().parents[1])
if (
    __name__ == "__main__" and sys.path[0] != ROOT
):  # the folder that one stands in may hold a data.py or a folder models
    sys.path.insert(0, ROOT)

from trainer.cpu import keep_memory  # noqa: E402
from trainer.exits import ABORTED, record, trace_crashes  # noqa: E402
from trainer.stopping import go_deaf  # noqa: E402


def run() -> int:
    """Run one command, and leave its exit code to whoever launched it."""
    from trainer.commands.cli import (
        main,  # which takes a while, and is not to be loaded before a process that begins anew
    )

    try:
        code = main()
    except SystemExit as end:  # tyro's, which has said why
        code = int(end.code or 0)
    except Exception:  # a fault of ours, or of the machine's
        traceback.print_exc()
        code = ABORTED
    go_deaf()
    record(code)
    return code


def leave(code: int) -> NoReturn:
    """End this process; after a failure at once where a GPU may wait for lost ranks, as its teardown would too."""
    runtime = sys.modules.get("trainer.runtime")
    if code and runtime and runtime.may_hang():
        for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
            with suppress(OSError, ValueError):  # nobody reads any more
                flush()
        os._exit(code)
    sys.exit(code)


def start() -> NoReturn:
    """This process from its beginning to its end: with the allocator's settings, and with its exit code left behind."""
    if sys.argv[1:2] in (["train"], ["doctor"]):
        keep_memory()
    trace_crashes()
    leave(run())


if __name__ == "__main__":
    start()

"""`python -m trainer`."""

import logging
import os
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from data.ending import trace_crashes
from trainer.cpu import keep_memory
from trainer.exits import BROKE_OFF, record
from trainer.preempt import go_deaf


def run() -> int:
    """Run one command, and leave its exit code to whoever launched it."""
    from trainer.cli import main  # which takes a while, and is not to be loaded before a process that begins anew

    try:
        code = main()
    except SystemExit as end:  # tyro's, which has said why
        code = int(end.code or 0)
    except Exception:  # a fault of ours, or of the machine's
        traceback.print_exc()
        code = BROKE_OFF
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


if __name__ == "__main__":
    if sys.argv[1:2] in (["train"], ["doctor"]):
        keep_memory()
    trace_crashes()
    leave(run())

"""`python -m trainer`: the entry point for launchers; `provenet` runs the same commands."""

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ROOT = str(Path(__file__).absolute().parents[1])
if __name__ == "__main__" and sys.path[0] != ROOT:
    sys.path.insert(0, ROOT)  # before the working directory, which may hold a data.py or a folder models

from trainer.cpus import restart_with_allocator  # noqa: E402
from trainer.exits import ABORTED, INTERRUPTED, record, trace_crashes  # noqa: E402
from trainer.stopping import ignore_signals  # noqa: E402
from trainer.streams import protect  # noqa: E402


def run() -> int:
    """Run one command, and record its exit code for the launcher."""
    try:
        from trainer.commands.cli import main  # slow; and not needed by a process that starts itself again

        code = main()
    except SystemExit as end:  # of tyro, which has printed why
        code = int(end.code or 0)
    except KeyboardInterrupt:  # while it was imported
        code = INTERRUPTED
    except Exception:  # a bug, or a fault of the machine
        traceback.print_exc()
        code = ABORTED
    ignore_signals()
    record(code)
    return code


def leave(code: int) -> NoReturn:
    """End this process; after a failure without teardown, if that could wait for lost ranks on a GPU."""
    runtime = sys.modules.get("trainer.runtime")
    if code and runtime and runtime.may_hang():
        for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
            with suppress(OSError, ValueError):  # the reader is gone
                flush()
        os._exit(code)
    sys.exit(code)


def start() -> NoReturn:
    """Run this process: with the allocator's settings for `train` and `doctor`, and with tracebacks of crashes."""
    if sys.argv[1:2] in (["train"], ["doctor"]):
        restart_with_allocator()
    if sys.argv[1:2] in (["train"], ["evaluate"], ["predict"]) and not {"-h", "--help"} & {*sys.argv}:
        protect()
    trace_crashes()
    leave(run())


if __name__ == "__main__":
    start()

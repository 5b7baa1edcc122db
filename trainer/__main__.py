"""`python -m trainer`: the entry point for launchers; `provenet` runs the same commands."""

import atexit
import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder where the command was typed, which may hold a numpy.py
    sys.path.insert(0, str(Path(__file__).absolute().parents[1]))  # PYTHONPATH too may hold a data.py or models

from trainer.cpus import restart_with_allocator
from trainer.exits import ABORTED, INTERRUPTED, record, trace_crashes
from trainer.stopping import ignore_signals
from trainer.streams import protect_for


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


def start() -> NoReturn:
    """Run this process: with the allocator's settings for `train` and `doctor`, and with tracebacks of crashes."""
    if sys.argv[1:2] in (["train"], ["doctor"]):
        restart_with_allocator()
    code = ABORTED
    # registered first, so called last: gloo's threads abort a process whose interpreter is torn down while they free a
    # tensor
    atexit.register(lambda: end(code))
    protect_for(("train", "evaluate", "predict"))
    trace_crashes()
    code = run()
    runtime = sys.modules.get("trainer.runtime")
    if code and runtime and runtime.may_hang():  # exit handlers could wait for lost ranks
        end(code)
    sys.exit(code)


def end(code: int) -> NoReturn:
    """End this process without the interpreter's teardown, but with all that it printed."""
    for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
        with suppress(OSError, ValueError):  # the reader is gone
            flush()
    os._exit(code)


if __name__ == "__main__":
    start()

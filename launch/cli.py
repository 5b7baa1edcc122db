"""`provenet`, one program for all verbs; imports the module of the one that was typed."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from trainer.commands import cli
from trainer.commands.cli import Verb
from trainer.exits import FAILED, refuse, say, trace_crashes

VERBS = {
    **cli.VERBS,
    "submit": Verb("launch.commands.submit", "Submit", "submit_default"),
    "status": Verb("launch.commands.status", "Status"),
    "logs": Verb("launch.commands.logs", "Logs"),
    "cancel": Verb("launch.commands.cancel", "Cancel"),
    "resume": Verb("launch.commands.submit", "Resume", "resume_default"),
    "array": Verb("launch.commands.array", "Array", "default"),
    "plan": Verb("launch.commands.plan", "Plan", "default"),
    "reproduce": Verb("launch.commands.reproduce", "Reproduce"),
    "run": Verb("launch.commands.run", "Run"),
    "completion": Verb("launch.commands.completion", "Completion"),
}
_TRAINER = {name.split()[0] for name in cli.VERBS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 refused by Slurm or failed, 2 bad input and nothing was done, 130 interrupted; of `run`,
        that of its command; of those in `trainer.commands`, theirs.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _TRAINER:
        return cli.main(words)
    from launch.submission import DamagedRecordError

    try:
        return cli.main(words, VERBS)
    except DamagedRecordError as error:
        return refuse([str(error)])
    except OSError as error:
        return say(f"failed: {error}", FAILED)


def console() -> NoReturn:
    """The console script, and `python -m launch`."""
    if sys.argv[1:] and sys.argv[1] in _TRAINER:
        from trainer.__main__ import start

        start()
    trace_crashes()
    sys.exit(main())

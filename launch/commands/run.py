"""`provenet run`: its flags and its refusals. Standard library and tyro only."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro

from launch import launcher
from trainer.exits import refuse
from trainer.recipe.decode import range_problems

_LAST = tyro.conf.arg(metavar="-- COMMAND", help_behavior_hint="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Run a launcher on this machine: at a stop its processes get time to save, and their exit code is passed on.

    TERM, INT (Ctrl-C), USR2 and HUP are passed on. Without an NVIDIA GPU, also sets variables that speed up a CPU,
    unless they are set already.

    Example: provenet run --grace-s 600 -- torchrun --standalone --nproc-per-node 8 -m trainer train
    resnet50 --data /imagenet --output runs/r50
    """

    command: Annotated[tuple[str, ...], tyro.conf.Positional, _LAST] = ()
    """The launcher and its arguments: accelerate launch, torchrun, srun, or anything else."""
    grace_s: int = field(default=300, metadata={"min": 1, "max": 86_400})
    """Seconds from a stop signal until processes that still run are killed."""

    def run(self) -> int:
        """Check the flags, then run the command."""
        problems = range_problems(self, flags=True)
        if not self.command:
            problems.append("COMMAND: missing; it comes last, after --: run -- torchrun ...")
        return refuse(problems) if problems else launcher.run(self.command, self.grace_s).code

    def behind(self, words: tuple[str, ...]) -> "Run":
        return replace(self, command=words)

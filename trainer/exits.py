"""How a command ends, and what it says then. Standard library only."""

import socket
import sys

from trainer.world import World

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells say


def refuse(problems: list[str], world: World | None = None) -> int:
    """Say on one screen why nothing was done: rank 0, and in a line the first process of every other machine."""
    world = world or World()
    if not world.is_main:
        if world.local_rank == 0:
            sys.stderr.write(f"rank {world.rank} on {socket.gethostname()} cannot start: {problems[0]}\n")
        return BAD_INPUT
    lines = "".join(f"  {problem}\n" for problem in problems[:12])
    more = f"  and {len(problems) - 12} more\n" if len(problems) > 12 else ""
    sys.stderr.write(f"cannot start; nothing was written\n{lines}{more}")
    return BAD_INPUT

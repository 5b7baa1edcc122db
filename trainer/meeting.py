"""How the processes of a run wait for each other before they form a group: in Python, which notices signals.

Torch's own waits notice none, and do not say who is missing. Loads no torch.
"""

import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

from trainer.exits import ABORTED, RunEndedError
from trainer.world import World

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store  # noqa: TID251 - the type alone

TIMEOUT = timedelta(minutes=10)  # of a wait for a missing rank
PATIENCE_S = 10.0  # until the missing ones are named

_SHOWN = 8


class NotMetError(RunEndedError):
    """The processes of the run did not come together; the message names those missing."""

    code = ABORTED


def find_main(world: World) -> None:
    """Wait until rank 0, or its launcher, answers at the address where the processes meet.

    Raises:
        NotMetError: It does not within `TIMEOUT`.
    """
    if world.world_size == 1:
        return
    if world.is_main:
        sys.stderr.write(f"waiting at {world.address}:{world.port} for {world.world_size} processes\n")
    else:
        where = f"rank 0 does not answer at {world.address}:{world.port}"
        _wait(lambda: _answers(world), lambda: f"rank {world.rank} on {socket.gethostname()}: {where}", world)


def await_all(store: "Store", world: World, note: str) -> list[bytes]:
    """Show the others a note, and wait for theirs; returns all by rank (collective).

    Raises:
        NotMetError: A rank has not come within `TIMEOUT`.
    """
    keys = [f"place/{rank}" for rank in range(world.world_size)]
    store.set(keys[world.rank], note)
    if store.add("arrived", 1) == world.world_size:
        store.set("complete", "")

    def missing() -> str:
        """Names them on the first rank that is there."""
        if any(store.check([key]) for key in keys[: world.rank]):
            return ""
        ranks = [rank for rank, key in enumerate(keys) if not store.check([key])]
        more = f" and {len(ranks) - _SHOWN} more" if len(ranks) > _SHOWN else ""
        return f"missing of {world.world_size}: rank {', '.join(map(str, ranks[:_SHOWN]))}{more}"

    _wait(lambda: store.check(["complete"]), missing, world)
    return store.multi_get(keys)


def _wait(met: Callable[[], bool], missing: Callable[[], str], world: World) -> None:
    begun, patience, pause = monotonic(), PATIENCE_S, 0.01
    while not met():
        waited = monotonic() - begun
        if waited > TIMEOUT.total_seconds():
            raise NotMetError(f"{missing() or 'another rank is missing'}; the same command starts again")
        if waited > patience:
            patience = TIMEOUT.total_seconds()
            if text := missing():
                sys.stderr.write(f"{text} (waiting up to {TIMEOUT.seconds // 60} minutes){_advice(world)}\n")
        sleep(pause)
        pause = min(1.5 * pause, 0.5)


def _advice(world: World) -> str:
    if world.launcher != "srun":
        return ""
    return (
        f"\n  this is one of {world.world_size} tasks of an srun step, and each must run this command. In a shell that "
        f"srun --pty has opened: srun --overlap --ntasks={world.world_size} python -m trainer ..., or for a single "
        "process env -u SLURM_STEP_NUM_TASKS provenet ..."
    )


def _answers(world: World) -> bool:
    with suppress(OSError), socket.create_connection((world.address, world.port), timeout=5):
        return True
    return False

"""Failures of a cluster, and other events that interrupt a run.

Each disturbance is a function of a run that is in progress; it returns when the run has been interrupted and the
cluster is repaired.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tests.commands import HANGS_S
from tests.system.drill.cluster import ClusterError
from tests.system.drill.running import DrillError, Running
from trainer.checkpoint.holder_file import Holder, look

Name = Literal[
    "time-limit", "preemption", "requeue", "killed-rank", "killed-in-save", "node-down", "node-off", "node-cut",
]  # fmt: skip

STEP = 20
"""The step at which a run is disturbed."""
GRACE_S = 60
"""The --grace-s of a run that is ended by its time limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disturbance:
    """A way to interrupt a run."""

    text: str
    """For the table."""
    happen: Callable[[Running], None]
    flags: tuple[str, ...] = ()
    """Flags of `submit` for this run."""
    nodes: int = 2
    """Nodes of the run."""


def _time_limit(running: Running) -> None:
    """Shorten the time limit so that Slurm sends its signal at its next check, every 30 s; then restore it.

    The processes are stopped until then, so that the run does not finish; Slurm continues those that it signals.
    """
    running.await_step(STEP)
    running.signal(signal.SIGSTOP)
    running.cluster.ask("scontrol", "update", f"jobid={running.job}", "TimeLimit=1")
    running.wait_for(lambda: running.attempts()[0].end is not None, "the signal of the time limit")
    running.cluster.ask("scontrol", "update", f"jobid={running.job}", "TimeLimit=30")


def _preemption(running: Running) -> None:
    running.await_step(STEP)
    nodes = ",".join(running.nodes())
    words = ("--partition=hi", f"--nodelist={nodes}", "--exclusive", "--time=1", "--output=/dev/null", "--wrap=sleep 3")
    running.cluster.ask("sbatch", *words)
    running.await_attempt(2)


def _requeue(running: Running) -> None:
    running.await_step(STEP)
    running.cluster.ask("scontrol", "requeue", running.job)
    running.await_attempt(2)


def _killed_rank(running: Running) -> None:
    running.await_step(STEP)
    running.signal(signal.SIGKILL, rank=1)
    running.await_attempt(2)


def _killed_in_save(running: Running) -> None:
    """Kill the writer during a checkpoint, twice."""
    for attempt in (1, 2):
        left_over = _writes(running)
        running.await_attempt(attempt)
        running.wait_for(lambda: bool(running.processes(rank=0)), "rank 0")
        (writer,) = running.processes(rank=0)
        deadline = time.monotonic() + HANGS_S
        while not _writes(running) - left_over:  # a write takes a few milliseconds: too short to sleep
            if time.monotonic() > deadline:
                raise DrillError(f"{running.run.path} writes no checkpoint")
        os.kill(writer, signal.SIGKILL)
    running.await_attempt(3)


def _writes(running: Running) -> set[int]:
    """Inodes of checkpoints that are being written, or were when the writer was killed."""
    with suppress(OSError):  # one of them was finished meanwhile
        return {path.stat().st_ino for path in running.run.checkpoints.glob("step-*.tmp")}
    return set()


def _node_down(running: Running) -> None:
    running.await_step(STEP)
    node = running.nodes()[1]
    running.cluster.ask("scontrol", "update", f"nodename={node}", "state=DOWN", "reason=drill")
    running.await_attempt(2)
    with suppress(ClusterError):  # the node has come back by itself
        running.cluster.ask("scontrol", "update", f"nodename={node}", "state=RESUME")


def _node_off(running: Running) -> None:
    running.await_step(STEP)
    node = running.nodes()[1]
    running.cluster.power_off(node)
    running.await_attempt(2)
    running.cluster.start_node(node)


def _node_cut(running: Running) -> None:
    """Stop the processes until Slurm has restarted the job on another node, then continue them."""
    running.await_step(STEP)
    (node,) = running.nodes()
    running.signal(signal.SIGSTOP)
    running.cluster.cut(node)
    running.wait_for(lambda: _restart_of(look(running.run.holder).holder) == 1, "a restart that takes the run over")
    running.signal(signal.SIGCONT)
    running.wait_for(lambda: "was taken over by" in running.log, "the old processes to notice the restart")
    running.await_end()
    running.cluster.uncut(node)


def _restart_of(holder: Holder | None) -> int:
    return holder.restart if holder else 0


DISTURBANCES: dict[Name, Disturbance] = {
    "time-limit": Disturbance(
        text="time limit: Slurm's signal ahead of it", happen=_time_limit, flags=("--grace-s", str(GRACE_S))
    ),
    "preemption": Disturbance(text="preempted by a higher partition", happen=_preemption, flags=("--partition", "lo")),
    "requeue": Disturbance(text="scontrol requeue", happen=_requeue),
    "killed-rank": Disturbance(text="a rank killed (SIGKILL)", happen=_killed_rank),
    "killed-in-save": Disturbance(text="killed in a checkpoint's write, twice", happen=_killed_in_save),
    "node-down": Disturbance(text="a node set down", happen=_node_down),
    "node-off": Disturbance(text="a node powered off", happen=_node_off),
    "node-cut": Disturbance(text="a node cut off, its processes alive", happen=_node_cut, nodes=1),
}

"""The world a process finds itself in, read from the environment, here alone. Standard library only.

`accelerate launch` and `torchrun` set RANK and its kin; `srun`, with or without submitit above it, sets SLURM_*; a bare
`python -m trainer` sets nothing and is a world of one.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass


class WorldError(ValueError):
    """The environment describes no world; the message names the variable."""


@dataclass(frozen=True, slots=True)
class World:
    """One process among the processes of a run."""

    rank: int = 0
    """Number of this process among all, from 0."""
    world_size: int = 1
    """Processes of the run, on all machines."""
    local_rank: int = 0
    """Number of this process among those on its machine, from 0."""
    local_world_size: int = 1
    """Processes of the run on this machine."""
    address: str = "127.0.0.1"
    """Host of rank 0."""
    port: int = 0
    """TCP port on that host where the processes meet; 0 in a world of one."""
    launcher: str = "python"
    """What started the process: torchrun (also below accelerate launch), srun or python."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.rank == 0

    def as_environment(self) -> dict[str, str]:
        """The variables torch.distributed and accelerate read."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_world_size),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def from_environment(environment: Mapping[str, str] = os.environ) -> World:
    """The world that the launcher described.

    Raises:
        WorldError: A variable is missing, is not a number, or contradicts another.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        world = _torchrun(environment)
    elif environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        world = _srun(environment)
    else:
        return World()
    if world.port == 0:
        raise WorldError("MASTER_PORT is 0, no port to meet at; let torchrun pick a free one with --standalone")
    if world.port > 65_535:
        raise WorldError(f"MASTER_PORT is {world.port}; expected 1 to 65535")
    for rank, size in ((world.rank, world.world_size), (world.local_rank, world.local_world_size)):
        if rank >= size:
            raise WorldError(f"rank {rank} does not exist in a world of {size} ({world.launcher})")
    return world


def speaks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process prints for all, as far as can be told of an environment that nobody has checked."""
    return environment.get("RANK", environment.get("SLURM_PROCID", "0")) == "0"


def _torchrun(environment: Mapping[str, str]) -> World:
    world_size = _number(environment, "WORLD_SIZE")
    return World(
        rank=_number(environment, "RANK"),
        world_size=world_size,
        local_rank=_number(environment, "LOCAL_RANK"),
        local_world_size=_number(environment, "LOCAL_WORLD_SIZE"),
        address=_text(environment, "MASTER_ADDR"),
        port=_number(environment, "MASTER_PORT"),
        launcher="torchrun",
    )


def _srun(environment: Mapping[str, str]) -> World:
    nodes = _text(environment, "SLURM_STEP_NODELIST")
    tasks = tasks_per_node(_text(environment, "SLURM_STEP_TASKS_PER_NODE"))
    # two jobs on one machine must not meet; nor two steps of one job
    port = 20000 + (7 * _number(environment, "SLURM_JOB_ID") + _number(environment, "SLURM_STEP_ID")) % 10000
    return World(
        rank=_number(environment, "SLURM_PROCID"),
        world_size=_number(environment, "SLURM_STEP_NUM_TASKS"),
        local_rank=_number(environment, "SLURM_LOCALID"),
        local_world_size=tasks[node] if (node := _number(environment, "SLURM_NODEID")) < len(tasks) else 0,
        address=environment.get("MASTER_ADDR") or first_host(nodes),
        port=_number(environment, "MASTER_PORT") if environment.get("MASTER_PORT") else port,
        launcher="srun",
    )


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list: `gpu[07-09,12],cpu1` gives `gpu07`."""
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\])?([^\[,]*)", nodes)
    assert match  # every part may be empty, so it always matches
    return "".join(part or "" for part in match.groups())


def tasks_per_node(text: str) -> list[int]:
    """Tasks on each node from Slurm's short form: `2(x3),1` gives [2, 2, 2, 1]."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise WorldError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}; expected the form 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _number(environment: Mapping[str, str], name: str) -> int:
    text = _text(environment, name)
    if not text.isdigit():
        raise WorldError(f"{name} is {text!r} in the environment; expected a whole number from 0 on")
    return int(text)


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise WorldError(
            f"{name} is missing from the environment; start through accelerate launch, torchrun or srun, which set it, "
            "or unset RANK and WORLD_SIZE for a single process"
        )
    return environment[name]

"""A process's rank among the processes of its run, read from the environment. Standard library only.

`accelerate launch` and `torchrun` set RANK and its kin; `srun`, with or without submitit above it, sets SLURM_*; a bare
`provenet train` sets nothing and is a world of one. A world smaller than its job is refused: several processes would
train separately, and none would fail.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PARENT = os.getppid()
"""Of this process, before that can have died."""
PODMAN = "PROVENET_PODMAN"  # with the number of the process that started this one's container, and is no parent of it

_TASKS = "SLURM_STEP_NUM_TASKS"  # set by srun only; a batch script has its job's variables, and those of task 0
_ACCELERATE = r"\baccelerate(\.commands\.\w+)? launch\b|\baccelerate(-|\.commands\.)launch\b"


class WorldError(ValueError):
    """The environment describes no world, or one smaller than its job; the message names the variable."""


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
    """What started the process: torchrun (also under accelerate launch), srun or python."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.rank == 0

    def as_environment(self) -> dict[str, str]:
        """The variables that torch.distributed and accelerate read."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_world_size),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def parent_command() -> list[str]:
    """The command line of the process that started this one; empty where it cannot be read."""
    with suppress(OSError):
        return Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def from_environment(
    environment: Mapping[str, str] = os.environ, parent: Callable[[], Sequence[str]] = parent_command
) -> World:
    """The world that the launcher described.

    Args:
        environment: Variables of this process.
        parent: Returns the command line of its parent: nothing else shows that `accelerate launch` started fewer
            processes than it was asked for.

    Raises:
        WorldError: A variable is missing, is not a number, or contradicts another; or the world is smaller than the job
            it is in.
    """
    world = _described(environment)
    if world.launcher == "torchrun":
        _refuse_part_of_step(environment, world)
    else:
        _refuse_part_of_accelerate(parent(), world)
    if world.launcher == "python":
        _refuse_part_of_job(environment)
        return world
    if world.port == 0:
        raise WorldError("MASTER_PORT is 0, no port to meet at; let torchrun pick a free one with --standalone")
    if world.port > 65_535:
        raise WorldError(f"MASTER_PORT is {world.port}; expected 1 to 65535")
    for rank, size in ((world.rank, world.world_size), (world.local_rank, world.local_world_size)):
        if rank >= size and world.world_size > 1:  # alone, a local rank by hand names its GPU
            raise WorldError(f"rank {rank} does not exist in a world of {size} ({world.launcher})")
    return world


def speaks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process prints for all; the environment may be invalid."""
    return environment.get("RANK", environment.get("SLURM_PROCID", "0")) == "0"


def launched(environment: Mapping[str, str] = os.environ, parent: Callable[[], Sequence[str]] = parent_command) -> bool:
    """Whether a launcher started this process, which is not to outlive it; a shell may end, as under nohup."""
    by = rf"{_ACCELERATE}|^slurmstepd"
    return not {"TORCHELASTIC_RUN_ID", PODMAN}.isdisjoint(environment) or bool(re.search(by, " ".join(parent())))


def orphaned(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the launcher of this process has died."""
    podman = environment.get(PODMAN)
    return not Path(f"/proc/{podman}").exists() if podman else os.getppid() != PARENT


def _described(environment: Mapping[str, str]) -> World:
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return _torchrun(environment)
    if environment.get(_TASKS, "1") != "1":
        return _srun(environment)
    return World()


def _refuse_part_of_step(environment: Mapping[str, str], world: World) -> None:
    """Raise where srun started more launchers than have joined this world."""
    # WORLD_SIZE where each task sets it by hand
    size = "GROUP_WORLD_SIZE" if "GROUP_WORLD_SIZE" in environment else "WORLD_SIZE"
    joined = _number(environment, size) if size in environment else world.world_size
    nodes, tasks = (_number({name: "1", **environment}, name) for name in ("SLURM_STEP_NUM_NODES", _TASKS))
    if joined < nodes:
        raise WorldError(
            f"{size} is {joined}, but srun started launchers on {nodes} nodes (SLURM_STEP_NUM_NODES): they would train "
            f"separately. Give each torchrun --nnodes {nodes} --rdzv-backend c10d --rdzv-id $SLURM_JOB_ID "
            f"--rdzv-endpoint FIRST_NODE:PORT, not --standalone; or each accelerate launch --num_machines {nodes} "
            "--machine_rank $SLURM_NODEID; slurm/torchrun.sbatch and slurm/accelerate.sbatch do it"
        )
    if joined < tasks:
        raise WorldError(
            f"{size} is {joined}, but srun started {tasks} launchers ({_TASKS}): they would train separately. "
            "Start one on each node: srun --ntasks-per-node=1"
        )


def _refuse_part_of_accelerate(parent: Sequence[str], world: World) -> None:
    """Raise where `accelerate launch` was asked for more processes: with --cpu it starts one, without a message."""
    asked = max(_asked_of_accelerate(parent, flag) for flag in ("num_processes", "num_machines"))
    if asked > world.world_size:
        raise WorldError(
            f"accelerate launch was asked for {asked} processes (--num_processes, --num_machines), but this is one of "
            f"{world.world_size}: with --cpu it starts one on each machine, unconnected to the others. On CPUs too, "
            f"write ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes {asked} ..., without --cpu"
        )


def _asked_of_accelerate(words: Sequence[str], flag: str) -> int:
    """The value of a flag of `accelerate launch`, spelt with _ or -; 1 without the flag."""
    line = " ".join(words)
    if not re.search(_ACCELERATE, line):
        return 1
    numbers = re.findall(rf"--{flag.replace('_', '[_-]')}[ =](\d+)\b", line)
    return int(numbers[-1]) if numbers else 1


def _refuse_part_of_job(environment: Mapping[str, str]) -> None:
    """Raise where a batch script with several tasks or nodes started this process, which would be the only one."""
    if "SLURM_JOB_ID" not in environment or _TASKS in environment:
        return
    for name in ("SLURM_NTASKS", "SLURM_JOB_NUM_NODES"):
        if environment.get(name, "1") != "1":
            raise WorldError(
                f"{name} is {environment[name]}, but this process was started without srun, and would be the only one: "
                "put srun in front of the command (srun --ntasks=1 for a single process)"
            )


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
        world_size=_number(environment, _TASKS),
        local_rank=_number(environment, "SLURM_LOCALID"),
        local_world_size=tasks[node] if (node := _number(environment, "SLURM_NODEID")) < len(tasks) else 0,
        address=environment.get("MASTER_ADDR") or first_host(nodes),
        port=_number(environment, "MASTER_PORT") if environment.get("MASTER_PORT") else port,
        launcher="srun",
    )


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list: `gpu[07-09,12],cpu1` gives `gpu07`."""
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\])?([^\[,]*)", nodes)
    assert match  # every group may be empty, so it always matches
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

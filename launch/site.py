"""The flags of a job on the cluster. Standard library only."""

import math
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

SLURM = ("sbatch", "srun")
_TASKS = "use --gpus-per-node or --processes-per-node"
_BOTH = {
    "nodes": "use --nodes",
    "ntasks": _TASKS,
    "ntasks-per-node": _TASKS,
    "cpus-per-task": "use --cpus-per-process",
}
_SBATCH = {
    **{name: f"use --{name}" for name in ("partition", "account", "qos", "constraint", "exclude", "reservation")},
    **dict.fromkeys(("output", "error", "open-mode"), "its log is in the run directory"),
    **dict.fromkeys(("requeue", "no-requeue"), "use --retries"),
    **dict.fromkeys(("parsable", "quiet", "wait", "test-only", "wrap", "help", "version"), "leave it out"),
    "gpus-per-node": "use --gpus-per-node",
    "mem": "use --memory-gb",
    "time": "use --hours",
    "signal": "use --grace-s",
    "job-name": "it is the run directory's name",
    "array": "use provenet array",
}
_SRUN = dict.fromkeys(("label", "kill-on-bad-exit", "output", "error", "input"), "leave it out")
_CONTAINED = {"container-image": "use --container", "container-workdir": "leave it out"}
"""Slurm's options that are set here, and what to do instead."""

MARGIN_S = 60  # Slurm checks limits every 30 s, and counts them in minutes


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """Nodes, processes and time of a job. Nothing here changes what is learned."""

    cluster: Literal["slurm", "local"] = "slurm"
    """slurm, or local: on this machine, at once, without Slurm, with the same restarts."""
    nodes: int = field(default=1, metadata={"min": 1, "max": 10_000})
    """Nodes of the job."""
    gpus_per_node: int = field(default=0, metadata={"min": 0, "max": 64})
    """GPUs on each node, one process for each; 0 trains on CPUs."""
    processes_per_node: int | None = field(default=None, metadata={"min": 1, "max": 1024})
    """Processes on each node without GPUs. None: one for each GPU, or one."""
    cpus_per_process: int = field(default=1, metadata={"min": 1, "max": 1024})
    """CPU cores of each process, to decode images. ImageNet on one fast GPU needs 8 to 16."""
    memory_gb: float | None = field(default=None, metadata={"above": 0, "max": 100_000})
    """Main memory of each node, GB. None: the partition's default."""
    hours: float = field(default=24.0, metadata={"above": 0, "max": 10_000})
    """Slurm's time limit of a job, hours. A run that takes longer is requeued."""
    grace_s: int = field(default=120, metadata={"min": 10, "max": 86_400})
    """Seconds before the time limit at which the run saves and ends, to be requeued."""
    retries: int = field(default=3, metadata={"min": 1, "max": 1000})
    """Consecutive attempts that may end without a newer checkpoint; then the run stops."""
    partition: str | None = None
    """Partition (queue). None: the cluster's default."""
    account: str | None = None
    """Account to charge. None: the user's default."""
    qos: str | None = None
    """Quality of service. None: the account's default."""
    constraint: str | None = None
    """Features that the nodes must have, such as h100. None: any."""
    exclude: str | None = None
    """Nodes not to use, such as gpu[07-09]. None: none."""
    reservation: str | None = None
    """Reservation to run in. None: none."""
    interface: str | None = None
    """Network interface between the nodes, such as ib0. None: what gloo and NCCL choose."""
    env: tuple[str, ...] = ()
    """NAME=VALUE, set for the job, or NAME, with its current value; no others are in the script. May be repeated."""
    setup: tuple[str, ...] = ()
    """Shell command that the job's script runs first, such as 'module load cuda'. May be repeated."""
    sbatch: tuple[str, ...] = ()
    """KEY=VALUE or KEY: an option of sbatch without a flag here, such as mail-type=END. May be repeated; of one
    KEY the last counts."""
    srun: tuple[str, ...] = ()
    """The same of srun, which starts the processes, such as gpu-bind=none. May be repeated."""
    container: str | None = None
    """RUNTIME:IMAGE, a container to run the processes in: pyxis:/images/provenet.sqsh (Enroot), podman:IMAGE or
    apptainer:/images/provenet.sif. It sees the run directory, the data and /tmp. None: none."""
    bind: tuple[str, ...] = ()
    """SOURCE or SOURCE:DESTINATION, a path that the container is to see besides. May be repeated."""

    @property
    def tasks_per_node(self) -> int:
        return self.gpus_per_node or self.processes_per_node or 1

    @property
    def world_size(self) -> int:
        return self.nodes * self.tasks_per_node


def cluster_problems(cluster: ClusterConfig) -> list[str]:
    """What is wrong with values that are each in range: contradictions, and text that breaks a script."""
    return [
        *_contradictions(cluster),
        *(_local_problems(cluster) if cluster.cluster == "local" else []),
        *_text_problems(cluster),
        *_env_problems(cluster.env),
        *_option_problems("sbatch", cluster.sbatch, {**_BOTH, **_SBATCH}),
        *_option_problems("srun", cluster.srun, {**_BOTH, **_SRUN, **(_CONTAINED if cluster.container else {})}),
    ]


def path_problems(flag: str, path: str) -> list[str]:
    """Why a job cannot have its log below this path: Slurm expands percent signs and backslashes in it."""
    strange = sorted({character for character in path if character in "%\\" or not character.isprintable()})
    names = ", ".join(repr(character) for character in strange)
    return [f"{flag}: {path!r} holds {names}, which a job's path cannot have; name another"] if strange else []


def _contradictions(cluster: ClusterConfig) -> list[str]:
    processes, gpus, least = cluster.processes_per_node, cluster.gpus_per_node, (cluster.grace_s + MARGIN_S) / 3600
    problems: list[str] = []
    if processes is not None and gpus not in (0, processes):
        starts = f"but --gpus-per-node {gpus} starts a process for each; leave it out"
        problems.append(f"--processes-per-node: {processes}, {starts}")
    if cluster.hours < least:
        too_short = f"is too short for --grace-s {cluster.grace_s}; use at least {least:.2f}"
        problems.append(f"--hours: {cluster.hours:g} {too_short}")
    return problems


def _local_problems(cluster: ClusterConfig) -> list[str]:
    problems = [] if cluster.nodes == 1 else [f"--nodes: {cluster.nodes}, but --cluster local is only this machine"]
    queues = ("memory_gb", "partition", "account", "qos", "constraint", "exclude", "reservation")
    problems += [
        f"--{name.replace('_', '-')}: --cluster local has no queue; leave it out, or give None"
        for name in queues
        if getattr(cluster, name) is not None
    ]
    if cluster.setup:
        problems.append("--setup: --cluster local has no script; run it before this command")
    slurm = (*SLURM, "container")
    problems += [f"--{name}: --cluster local has no Slurm; leave it out" for name in slurm if getattr(cluster, name)]
    return problems


def _text_problems(cluster: ClusterConfig) -> list[str]:
    """Text that would break a line of the script."""
    values: dict[str, object] = {one.name: getattr(cluster, one.name) for one in fields(cluster)}
    texts = [(name, value) for name, value in values.items() if isinstance(value, str)]
    texts += [(name, text) for name in ("env", "setup", "bind", *SLURM) for text in getattr(cluster, name)]
    return [
        f"--{name.replace('_', '-')}: {text!r} holds a control character; leave it out"
        for name, text in texts
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text)  # Cs: bytes that are not UTF-8
    ]


def _env_problems(entries: tuple[str, ...]) -> list[str]:
    problems: list[str] = []
    for entry in entries:
        name, has_value, _ = entry.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            problems.append(f"--env: {name!r} is not the name of a variable; expected NAME=VALUE or NAME")
        elif name == "PYTHONSAFEPATH":
            problems.append(f"--env: {name} is set for every job; leave it out")
        elif not has_value and name not in os.environ:
            problems.append(f"--env: {name} is not set here; give {name}=VALUE")
    return problems


def requests(cluster: ClusterConfig) -> dict[str, str | int]:
    """What a job asks of Slurm, by the long names of sbatch's options."""
    names = ("partition", "account", "qos", "constraint", "exclude", "reservation")
    asked = {
        "nodes": cluster.nodes,
        "ntasks-per-node": cluster.tasks_per_node,
        "gpus-per-node": cluster.gpus_per_node,
        "cpus-per-task": cluster.cpus_per_process,
        "mem": f"{math.ceil(1024 * cluster.memory_gb)}M" if cluster.memory_gb else None,
        **{name: getattr(cluster, name) for name in names},
    }
    return {name: value for name, value in asked.items() if value}


def options(entries: tuple[str, ...]) -> dict[str, str | bool]:
    """Options by name, True for those without a value; of two of a name the last, as a flag comes after the site's."""
    pairs = (entry.partition("=") for entry in entries)
    return {key: value if equals else True for key, equals, value in pairs}


def words(named: Mapping[str, str | int | bool]) -> list[str]:
    """Options by name as they are typed."""
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in named.items()]


def _option_problems(flag: str, entries: tuple[str, ...], ours: Mapping[str, str]) -> list[str]:
    problems: list[str] = []
    for entry in entries:
        key = entry.partition("=")[0]
        if not re.fullmatch(r"[a-z][a-z0-9-]+", key):
            problems.append(f"--{flag}: {key!r} is not the long name of an option; expected KEY=VALUE or KEY")
        elif key in ours:
            problems.append(f"--{flag}: {key} is set for every job; {ours[key]}")
    return problems

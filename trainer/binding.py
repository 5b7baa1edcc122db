"""Which CPUs belong to this process, and staying on them where memory has a place. Standard library only.

A machine with several NUMA nodes reads the memory of another node's CPUs slower, and a GPU hangs at one of them. There
each process keeps to CPUs near its GPU, or to its share of a node, unless the launcher has placed it. Elsewhere the
kernel does better, and only the number of CPUs counts.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

Cpus = frozenset[int]

_SYSTEM = Path("/sys/devices/system")
_PCI = Path("/sys/bus/pci/devices")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the kernel says of CPUs and memory."""

    nodes: tuple[Cpus, ...]
    """CPUs of each NUMA node that has some."""
    cores: Mapping[int, int]
    """By CPU, the first of its core: two threads of a core stay together."""


def machine(system: Path = _SYSTEM) -> Machine:
    """This machine; one node without a name where the kernel does not say."""
    nodes = (cpus_in(_text(file)) for file in sorted(system.glob("node/node[0-9]*/cpulist")))
    cores = {
        int(place.name.removeprefix("cpu")): min(cpus_in(_text(place / "topology/thread_siblings_list")), default=-1)
        for place in system.glob("cpu/cpu[0-9]*")
    }
    return Machine(tuple(node for node in nodes if node), cores)


def gpu_node(bus_id: str, devices: Path = _PCI) -> int | None:
    """NUMA node of a PCI device such as 0000:3b:00.0, or None where it has none."""
    text = _text(devices / bus_id.lower() / "numa_node").strip()
    return int(text) if text.isdigit() else None  # -1: none


def boot_id(file: Path = _BOOT_ID) -> str:
    """What no other machine has, and this one until it starts again; empty where the kernel does not say."""
    return _text(file).strip()


def cpus_in(text: str) -> Cpus:
    """The CPUs of a list as the kernel writes it: `0-2,8` gives {0, 1, 2, 8}."""
    parts = (part.partition("-") for part in text.strip().split(",") if part)
    return frozenset(cpu for first, _, last in parts for cpu in range(int(first), int(last or first) + 1))


def allowed() -> Cpus:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def count(launcher: str, cpus: Cpus, masks: Sequence[Cpus], environment: Mapping[str, str] = os.environ) -> int:
    """How many CPUs are this process's: an n-th of each that n processes may run on.

    Args:
        launcher: What started it, as in `World`.
        cpus: What it may run on.
        masks: What each process of its machine may run on, itself among them.
        environment: Variables of this process.
    """
    own = environment.get("SLURM_CPUS_PER_TASK", "")
    if launcher == "srun" and own.isdigit():
        return max(1, min(len(cpus), int(own)))
    sharers = Counter(cpu for mask in masks for cpu in mask)
    return max(1, int(sum(Fraction(1, sharers[cpu]) for cpu in cpus)))


def share(
    place: int, masks: Sequence[Cpus], machine: Machine, gpu_nodes: Sequence[int | None], own: int
) -> Cpus | None:
    """The CPUs that this process should keep to, or None for all that it may run on.

    Args:
        place: Which of the processes of its machine it is.
        masks: What each of them may run on.
        machine: The machine.
        gpu_nodes: NUMA node of each one's GPU, None without one.
        own: How many CPUs are its own, see `count`.
    """
    cpus = masks[place]
    nodes = [node & cpus for node in machine.nodes if node & cpus]
    if len(masks) == 1 or len(nodes) < 2 or len(cpus) <= own or len(set(masks)) > 1:
        return None  # alone, or nothing to choose between, or placed already
    homes = [_home(other, len(masks), nodes, machine, near) for other, near in enumerate(gpu_nodes)]
    home = homes[place]
    neighbours = [other for other, theirs in enumerate(homes) if theirs == home]
    ordered = _by_core(nodes[home], machine)
    size = min(own, len(ordered) // len(neighbours))
    first = neighbours.index(place) * (len(ordered) // len(neighbours))
    return frozenset(ordered[first : first + size]) or None


def bind(cpus: Cpus | None) -> None:
    """Keep this process, and the threads that it starts from now on, to these CPUs."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def _home(place: int, processes: int, nodes: Sequence[Cpus], machine: Machine, near: int | None) -> int:
    """Which of the nodes a process belongs to: its GPU's, or else the processes in order over the nodes."""
    if near is not None and near < len(machine.nodes):
        at_hand = [index for index, node in enumerate(nodes) if node <= machine.nodes[near]]
        if at_hand:
            return at_hand[0]
    return place * len(nodes) // processes


def _by_core(cpus: Iterable[int], machine: Machine) -> list[int]:
    return sorted(cpus, key=lambda cpu: (machine.cores.get(cpu, cpu), cpu))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""

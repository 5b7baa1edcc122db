"""Which CPUs a process computes on, and how it uses them. Standard library only.

On a machine with several NUMA nodes a CPU reads another node's memory slower, and each GPU is attached to one node.
There each process is bound to CPUs near its GPU, or to its share of a node, unless the launcher has bound it already.
Elsewhere the kernel schedules better, and only the number of CPUs is used.
"""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

Cpus = frozenset[int]

_SYSTEM = Path("/sys/devices/system")
_PCI = Path("/sys/bus/pci/devices")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ALLOCATOR = {
    # glibc returns each freed activation to the kernel and faults it in again at the next step: a third of a CPU step
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296"
    ":glibc.malloc.trim_threshold=17179869184"
}
SLEEPING = {
    # OpenMP's threads spin at a barrier and so stall each other on a core that is shared: measured on 2 cores beside
    # another program, 3 images/s spinning, 80 asleep
    "OMP_WAIT_POLICY": "passive"
}


@dataclass(frozen=True, slots=True)
class Machine:
    """NUMA nodes and cores, as the kernel lists them."""

    nodes: tuple[Cpus, ...]
    """CPUs of each NUMA node that has any."""
    cores: Mapping[int, int]
    """The first CPU of each CPU's core: two threads of a core stay together."""


def machine(system: Path = _SYSTEM) -> Machine:
    """This machine; no nodes where the kernel names none."""
    nodes = (cpus_in(_text(file)) for file in sorted(system.glob("node/node[0-9]*/cpulist")))
    cores = {
        int(cpu.name.removeprefix("cpu")): min(cpus_in(_text(cpu / "topology/thread_siblings_list")), default=-1)
        for cpu in system.glob("cpu/cpu[0-9]*")
    }
    return Machine(tuple(node for node in nodes if node), cores)


def gpu_node(bus_id: str, devices: Path = _PCI) -> int | None:
    """NUMA node of a PCI device such as 0000:3b:00.0, or None where it has none."""
    text = _text(devices / bus_id.lower() / "numa_node").strip()
    return int(text) if text.isdigit() else None  # -1: none


def boot_id(file: Path = _BOOT_ID) -> str:
    """An id of this machine, new at each of its boots; empty where the kernel gives none."""
    return _text(file).strip()


def cpus_in(text: str) -> Cpus:
    """The CPUs of a list as the kernel writes it: `0-2,8` gives {0, 1, 2, 8}."""
    ranges = (part.partition("-") for part in text.strip().split(",") if part)
    return frozenset(cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1))


def allowed() -> Cpus:
    """The CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def count(launcher: str, cpus: Cpus, masks: Sequence[Cpus], environment: Mapping[str, str] = os.environ) -> int:
    """How many CPUs this process may use: 1/n of each CPU that n processes of its machine may run on.

    `cpus` are its own, `masks` those of all processes on the machine.
    """
    own = environment.get("SLURM_CPUS_PER_TASK", "")
    if launcher == "srun" and own.isdigit():
        return max(1, min(len(cpus), int(own)))
    sharers = Counter(cpu for mask in masks for cpu in mask)
    return max(1, int(sum(Fraction(1, sharers[cpu]) for cpu in cpus)))


def share(
    index: int, masks: Sequence[Cpus], machine: Machine, gpu_nodes: Sequence[int | None], own: int
) -> Cpus | None:
    """The CPUs that a process should be bound to, of those that each may run on (`masks`); None: do not bind it.

    `index`: of the process on its machine; `own`: how many CPUs it may use, see `count`.
    """
    cpus = masks[index]
    nodes = [node & cpus for node in machine.nodes if node & cpus]
    if len(masks) == 1 or len(nodes) < 2 or len(cpus) <= own or len(set(masks)) > 1:
        return None  # alone, or nothing to choose between, or bound already
    homes = [_home(other, len(masks), nodes, machine, near) for other, near in enumerate(gpu_nodes)]
    home = homes[index]
    neighbours = [other for other, theirs in enumerate(homes) if theirs == home]
    ordered = sorted(nodes[home], key=lambda cpu: (machine.cores.get(cpu, cpu), cpu))
    size = min(own, len(ordered) // len(neighbours))
    first = neighbours.index(index) * (len(ordered) // len(neighbours))
    return frozenset(ordered[first : first + size]) or None


def bind(cpus: Cpus | None) -> None:
    """Bind this process, and the threads that it starts from now on, to these CPUs."""
    if cpus:
        os.sched_setaffinity(0, cpus)


def has_gpu() -> bool:
    """Whether NVIDIA's driver is installed; some containers hide its entry in /proc."""
    return any(map(os.path.exists, ("/proc/driver/nvidia/version", "/dev/nvidiactl")))


def restart_with_allocator() -> None:
    """On a machine without GPU, start this program again with the allocator's settings, which glibc reads at its start.

    Does nothing where the variable is set already.
    """
    if sys.platform == "linux" and not has_gpu() and not ALLOCATOR.keys() & os.environ.keys():
        os.environ.update(ALLOCATOR)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def sleep_at_barriers() -> None:
    """Let OpenMP's threads sleep while they wait for each other; to be called before torch is imported."""
    for name, value in SLEEPING.items():
        os.environ.setdefault(name, value)


def _home(process: int, processes: int, nodes: Sequence[Cpus], machine: Machine, gpu_node: int | None) -> int:
    """The node of a process: its GPU's, or else the processes are spread over the nodes in order."""
    near = machine.nodes[gpu_node] if gpu_node is not None and gpu_node < len(machine.nodes) else frozenset[int]()
    return next((index for index, node in enumerate(nodes) if node <= near), process * len(nodes) // processes)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""

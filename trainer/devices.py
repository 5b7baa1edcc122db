"""Which GPU each process uses, and what a recipe needs of a GPU. Standard library only.

CUDA numbers the GPUs visible to a process from 0. Where a launcher makes one GPU visible to each process (srun
--gpus-per-task=1), every process uses number 0; where all are visible to all, each uses that of its local rank.
"""

import json
import os
import shutil
import socket
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer import cpus, gpu_faults
from trainer.exits import BAD_INPUT, RunEndedError
from trainer.rendezvous import await_all
from trainer.world import World

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store  # noqa: TID251 - the type alone

LOADER_THREADS = 16  # of a process with a GPU: at 1.5 CPU ms an image, three times what an H100 trains of ResNet-50


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one process of a run computes; processes exchange these before they form a group."""

    rank: int
    local_rank: int
    machine: str
    """Host name, and the boot id where the kernel gives one: two machines may have the same name."""
    cpus: cpus.Cpus
    """CPUs that it may run on."""
    gpu: str | None = None
    """See `identity`; None on a CPU."""
    gpu_node: int | None = None
    """NUMA node of the GPU."""
    node: str = ""
    """Slurm's name of the machine, or its host name."""
    faults: str = ""
    """What is wrong with the GPU."""

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"cpus": sorted(self.cpus)})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Place":
        values = json.loads(text)
        return cls(**values | {"cpus": frozenset(values["cpus"])})


class SharedGpuError(RunEndedError):
    """Two processes have the same GPU; the message names them and the fix."""

    code = BAD_INPUT


def exchanged(own: Place, world: World, store: "Store") -> list[Place]:
    """The places of all processes, by rank (collective).

    Raises:
        SharedGpuError: Two processes have the same GPU. Raised in all of them, before NCCL fails in each.
        NotMetError: A process is missing.
    """
    everyone = [Place.from_json(text) for text in await_all(store, world, own.to_json())]
    if problems := shared_gpus(everyone):
        store.set(f"seen/{world.rank}", "")
        if world.is_main:  # whose end may close the store
            store.wait([f"seen/{rank}" for rank in range(world.world_size)])
        raise SharedGpuError("\n".join(problems))
    return everyone


def place(world: World, gpu: tuple[str, str] | None) -> Place:
    """Where this process computes; `gpu`: PCI address and UUID of its GPU."""
    return Place(
        rank=world.rank,
        local_rank=world.local_rank,
        machine=f"{socket.gethostname()} {cpus.boot_id()}".strip(),
        cpus=cpus.allowed(),
        gpu=identity(*gpu, os.environ.get("CUDA_VISIBLE_DEVICES", "")) if gpu else None,
        gpu_node=cpus.gpu_node(gpu[0]) if gpu else None,
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        faults=gpu_faults.faults(gpu[0]) if gpu else "",
    )


def faulty(everyone: Sequence[Place]) -> dict[str, str]:
    """What is wrong with GPUs of the run, by the names of their nodes."""
    found: dict[str, list[str]] = {}
    for place in everyone:
        if place.faults:
            found.setdefault(place.node, []).append(f"GPU {place.gpu} of rank {place.rank}: {place.faults}")
    return {node: "; ".join(texts) for node, texts in found.items()}


def index(local_rank: int, visible: int) -> int:
    """CUDA's number of this process's GPU among the `visible` ones."""
    return local_rank % visible


def identity(bus_id: str, uuid: str, visible: str = "") -> str:
    """An id of a GPU, unique on its machine.

    Args:
        bus_id: PCI address.
        uuid: The driver's.
        visible: CUDA_VISIBLE_DEVICES. Slices of one GPU (MIG) share a PCI address and, with some drivers, the UUID; the
            variable names the one slice that a process sees.
    """
    slices = visible.split(",")[0].strip() if visible.startswith("MIG-") else ""
    return " ".join(filter(None, [bus_id, uuid, slices]))


def beside(own: Place, everyone: Sequence[Place]) -> list[Place]:
    """The processes on the same machine, `own` included, in the order of their local ranks."""
    here = (place for place in everyone if place.machine == own.machine)
    return sorted(here, key=lambda place: (place.local_rank, place.rank))


def shared_gpus(everyone: Sequence[Place]) -> list[str]:
    """A problem for each two processes that have the same GPU, which NCCL refuses."""
    first: dict[tuple[str, str], Place] = {}
    problems: list[str] = []
    for place in everyone:
        if place.gpu is None:
            continue
        other = first.setdefault((place.machine, place.gpu), place)
        if other is not place:
            problems.append(
                f"ranks {other.rank} and {place.rank} (local ranks {other.local_rank} and {place.local_rank}) have the "
                f"same GPU of {place.machine.partition(' ')[0]}, {place.gpu}; start at most one process for each GPU "
                "(torchrun --nproc-per-node, accelerate launch --num_processes, srun --ntasks-per-node), and let "
                "CUDA_VISIBLE_DEVICES show each process all of them or one of its own (srun --gpus-per-task=1)"
            )
    return problems


def precision_problems(precision: str, gpu: str, capability: tuple[int, int]) -> list[str]:
    """Why a GPU of this compute capability cannot compute in this precision.

    V100 and T4 emulate bf16, slowly and not in convolutions.
    """
    if precision not in ("bf16", "tf32") or capability >= (8, 0):
        return []
    has = ".".join(map(str, capability))
    return [
        f"precision: {precision} needs a GPU of compute capability 8.0 (Ampere) or newer, but {gpu} has {has}; use "
        "--precision fp16, or fp32, which is slower"
    ]


def toolchain_problems(*, gpu: bool) -> list[str]:
    """What torch.compile lacks here."""
    return [*compiler_problems(gpu=gpu), *header_problems(header_folder())]


def compiler_problems(
    *, gpu: bool, which: Callable[[str], str | None] = shutil.which, environment: Mapping[str, str] = os.environ
) -> list[str]:
    """The compiler that torch.compile lacks here: for a GPU Triton builds a small C module, for a CPU all is C++."""
    names, variable, language = (("gcc", "clang"), "CC", "C") if gpu else (("g++", "clang++"), "CXX", "C++")
    where = "with a GPU" if gpu else "on a CPU"
    if not any(map(which, (environment.get(variable, ""), *names))):
        return [
            f"compile: torch.compile needs a {language} compiler {where}; install {names[0]} or name one in "
            f"{variable}, or use --compile off"
        ]
    return []


def header_folder() -> str:
    """The folder in which Triton looks for Python's headers."""
    scheme = sysconfig.get_default_scheme()  # Debian's own names a folder for what the user installs
    return sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme)


def header_problems(folder: str) -> list[str]:
    """Whether Python's headers, which Linux distributions package separately, are missing."""
    if Path(folder, "Python.h").exists():
        return []
    return [
        f"compile: torch.compile needs Python's headers, but there is no {folder}/Python.h; install python3-dev "
        "(python3-devel), or use --compile off"
    ]

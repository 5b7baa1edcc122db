"""Which GPU is this process's, and what a GPU must have for a recipe. Standard library only.

CUDA numbers the GPUs that a process sees from 0. Where a launcher shows each process a GPU of its own (srun
--gpus-per-task=1), every process has number 0; where it shows all of them to all, each takes that of its local rank.
"""

import json
import os
import shutil
import socket
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from trainer import binding
from trainer.binding import Cpus
from trainer.exits import BAD_INPUT, RunEndedError
from trainer.world import World

LOADER_THREADS = 16  # of a process with a GPU: at 1.5 CPU ms an image, three times what an H100 trains of ResNet-50


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one process of a run computes, as it tells the others."""

    rank: int
    local_rank: int
    machine: str
    """Host name, and the boot id where the kernel gives one: two machines may have one name."""
    cpus: Cpus
    """CPUs that it may run on."""
    gpu: str | None = None
    """What no other GPU has, see `identity`; None on a CPU."""
    gpu_node: int | None = None
    """NUMA node of the GPU."""

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self) | {"cpus": sorted(self.cpus)})

    @classmethod
    def from_json(cls, text: str | bytes) -> "Place":
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"cpus": frozenset(values["cpus"])})


class SharedGpuError(RunEndedError):
    """Two processes have the same GPU; the message says which, and the fix."""

    code = BAD_INPUT


class Store(Protocol):
    """What a store of torch.distributed can do."""

    def set(self, key: str, value: str, /) -> None:
        """Write a value."""

    def multi_get(self, keys: list[str], /) -> list[bytes]:
        """Wait for the keys, and read their values."""
        ...

    def wait(self, keys: list[str], /) -> None:
        """Wait for the keys."""


def exchanged(own: Place, world: World, store: Store) -> list[Place]:
    """What every process says of itself, by rank (collective).

    Raises:
        SharedGpuError: Two have the same GPU. All processes say so, before NCCL fails in each.
    """
    ranks = range(world.world_size)
    store.set(f"place/{world.rank}", own.to_json())
    everyone = [Place.from_json(text) for text in store.multi_get([f"place/{rank}" for rank in ranks])]
    if problems := shared_gpus(everyone):
        store.set(f"seen/{world.rank}", "")
        if world.is_main:  # the store may end with it
            store.wait([f"seen/{rank}" for rank in ranks])
        raise SharedGpuError("\n".join(problems))
    return everyone


def place(world: World, gpu: tuple[str, str] | None) -> Place:
    """Where this process computes; `gpu`: PCI address and UUID."""
    return Place(
        rank=world.rank,
        local_rank=world.local_rank,
        machine=f"{socket.gethostname()} {binding.boot_id()}".strip(),
        cpus=binding.allowed(),
        gpu=identity(*gpu, os.environ.get("CUDA_VISIBLE_DEVICES", "")) if gpu else None,
        gpu_node=binding.gpu_node(gpu[0]) if gpu else None,
    )


def index(local_rank: int, visible: int) -> int:
    """CUDA's number of this process's GPU among those that it sees."""
    return local_rank % visible


def identity(bus_id: str, uuid: str, visible: str = "") -> str:
    """What tells a GPU from every other of its machine.

    Args:
        bus_id: PCI address.
        uuid: The driver's.
        visible: CUDA_VISIBLE_DEVICES. Slices of one GPU (MIG) share a PCI address and, by some drivers, the UUID; a
            process sees one slice, which the variable names.
    """
    slices = visible.split(",")[0].strip() if visible.startswith("MIG-") else ""
    return " ".join(filter(None, [bus_id, uuid, slices]))


def beside(own: Place, everyone: Sequence[Place]) -> list[Place]:
    """The processes on this one's machine, itself among them, in the order of their local ranks."""
    here = (place for place in everyone if place.machine == own.machine)
    return sorted(here, key=lambda place: (place.local_rank, place.rank))


def shared_gpus(everyone: Sequence[Place]) -> list[str]:
    """Why processes cannot train as they are: two have the same GPU, which NCCL refuses."""
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
    """Why a GPU cannot do the recipe's arithmetic; V100 and T4 emulate bf16, slowly and not in convolutions.

    Args:
        precision: The recipe's.
        gpu: Its name.
        capability: CUDA's compute capability of it.
    """
    if precision not in ("bf16", "tf32") or capability >= (8, 0):
        return []
    has = ".".join(map(str, capability))
    return [
        f"precision: {precision} needs a GPU of compute capability 8.0 (Ampere) or newer, but {gpu} has {has}; use "
        "--precision fp16, or fp32, which is slower"
    ]


def compiler_problems(
    *, gpu: bool, which: Callable[[str], str | None] = shutil.which, environment: Mapping[str, str] = os.environ
) -> list[str]:
    """What torch.compile lacks on this machine: on a GPU Triton builds a small C module, on a CPU all is C++."""
    names, variable, language = (("gcc", "clang"), "CC", "C") if gpu else (("g++", "clang++"), "CXX", "C++")
    where = "with a GPU" if gpu else "on a CPU"
    if not any(map(which, (environment.get(variable, ""), *names))):
        return [
            f"compile: torch.compile needs a {language} compiler {where}; install {names[0]} or name one in "
            f"{variable}, or use --compile off"
        ]
    return []


def header_folder() -> str:
    """Where Python's headers are, as Triton looks for them."""
    scheme = sysconfig.get_default_scheme()  # Debian's own one names a folder for what the user installs
    return sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme)


def header_problems(folder: str) -> list[str]:
    """The same of Python's own headers, which Linux distributions pack apart."""
    if Path(folder, "Python.h").exists():
        return []
    return [
        f"compile: torch.compile needs Python's headers, but there is no {folder}/Python.h; install python3-dev "
        "(python3-devel), or use --compile off"
    ]

"""This process among the others, and its device: the only module that uses accelerate and torch.distributed."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from accelerate.utils import DDPCommunicationHookType, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous as torch_rendezvous
from torch.nn.parallel import DistributedDataParallel

from data.types import Shard
from trainer import cpus, devices, gpu, rendezvous, variables
from trainer.recipe.config import Precision
from trainer.world import World

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def lost_contact(error: RuntimeError) -> bool:
    """Whether the error means that another process, or the way to it, is gone."""
    return isinstance(error, dist.DistError) or bool(re.search("gloo/transport|caused pair closure", str(error)))


def may_hang() -> bool:
    """Whether a process group with a GPU is still open, as after a failure."""
    return dist.is_initialized() and torch.cuda.is_initialized()


class Runtime:
    """This process in its group. All ranks must call every method marked `collective`, in the same order."""

    def __init__(
        self, world: World, precision: Precision, threads: int | None = None, *, deterministic: bool = False
    ) -> None:
        """Choose the device and join the process group (collective).

        Args:
            world: This process among the others.
            precision: Arithmetic of the forward pass.
            threads: CPU threads. None: one for each of its CPUs, with a GPU at most `devices.LOADER_THREADS`.
            deterministic: Use only algorithms that repeat bit for bit on a GPU.

        Raises:
            devices.SharedGpuError: Two processes have the same GPU.
            rendezvous.NotMetError: A process is missing.
        """
        self.world, self.device = world, gpu.device_of(world)
        self._on_gpu = on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
            gpu.choose_algorithms(precision, deterministic=deterministic)
        own = devices.place(world, gpu.address(self.device))
        store = self._meet()
        everyone = devices.exchanged(own, world, store) if store else [own]
        self.gpu_faults = devices.faulty(everyone)
        self._beside = devices.beside(own, everyone)
        self._place = self._beside.index(own)
        self.own_cpus = cpus.count(world.launcher, own.cpus, [place.cpus for place in self._beside])
        """CPUs that this process may use, before it is bound to some."""
        self.threads = threads or min(self.own_cpus, devices.LOADER_THREADS if on_gpu else self.own_cpus)
        # accelerate launch sets this to 1 whatever the machine; accelerate itself guesses and warns where it is missing
        os.environ["OMP_NUM_THREADS"] = str(self.threads)
        torch.set_num_threads(self.threads)
        if store:
            self._join(store)
        with variables.hidden():  # for the trackers; it takes a device from them, or a GPU's number from LOCAL_RANK
            PartialState(cpu=not on_gpu).device = self.device
        self._precision: Precision = precision
        self._deterministic = deterministic
        self._autocast = _AUTOCAST.get(precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")  # a no-op for the others
        self.begun = 0  # collectives of the two kinds that a run's ranks wait in

    @property
    def shard(self) -> Shard:
        """This process's part of the data."""
        return Shard(self.world.rank, self.world.world_size)

    @property
    def is_main(self) -> bool:
        return self.world.is_main

    def varied(self, *, precision: Precision, threads: int) -> "Runtime":
        """The same process in the same group with other arithmetic or CPU threads; call its `use` first."""
        other = copy(self)
        other.threads, other._precision, other._autocast = threads, precision, _AUTOCAST.get(precision)
        other.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        return other

    def use(self) -> None:
        """Set the process-wide options of this runtime again, after another has been in use."""
        torch.set_num_threads(self.threads)
        if self._on_gpu:
            gpu.choose_algorithms(self._precision, deterministic=self._deterministic)

    def keep_near(self) -> None:
        """Bind this process to CPUs near its GPU, or to its share of a NUMA node, where there are several."""
        masks, nodes = zip(*((place.cpus, place.gpu_node) for place in self._beside), strict=True)
        cpus.bind(cpus.share(self._place, masks, cpus.machine(), nodes, self.own_cpus))

    def distribute(self, model: nn.Module, *, compression: str = "none", static: bool = False) -> nn.Module:
        """Wrap for DDP where there are several processes (collective).

        Args:
            model: Already placed.
            compression: Type that gradients are rounded to for the exchange: none, bf16 or fp16.
            static: Whether each pass uses the same weights and an update follows it: DDP then refuses `no_sync`.
        """
        if self.world.world_size == 1:
            return model
        hook = {"bf16": DDPCommunicationHookType.BF16, "fp16": DDPCommunicationHookType.FP16}.get(compression)
        # Accelerator.prepare_model uses the local rank as a GPU's number, and compiles or shards as ACCELERATE_* say
        wrapped = DistributedDataParallel(
            model,
            device_ids=[self.device.index] if self._on_gpu else None,
            gradient_as_bucket_view=True,
            static_graph=static,
        )
        wrapped.broadcast_buffers = False  # BatchNorm's statistics are averaged before they are used
        DistributedDataParallelKwargs(comm_hook=hook or DDPCommunicationHookType.NO).register_comm_hook(wrapped)
        return wrapped

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to the precision, for a forward pass."""
        return torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Keep gradients local, for all but the last micro-batch of a step; `model` may be compiled."""
        inner = getattr(model, "_orig_mod", model)
        return inner.no_sync() if isinstance(inner, DistributedDataParallel) else nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """A copy of the tensor, summed over all processes (collective)."""
        total = tensor.clone()
        self.begun += 1
        if self.world.world_size > 1:
            dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process (collective)."""
        return self.vote(lambda: flag)()[0]

    def vote(self, *flags: Callable[[], bool]) -> Callable[[], tuple[bool, ...]]:
        """Ask which flags are set in any process, without waiting (collective); on the host, while a GPU computes.

        Args:
            flags: Are read now; by a single process, when the answer is read.

        Returns:
            A function that waits for the answer and returns it; call it once.
        """
        if self.world.world_size == 1:
            return lambda: tuple(flag() for flag in flags)
        self.begun += 1
        votes = torch.tensor([flag() for flag in flags], dtype=torch.int32)
        asked = dist.all_reduce(votes, dist.ReduceOp.MAX, async_op=True)

        def answer() -> tuple[bool, ...]:
            asked.wait()  # pyright: ignore[reportOptionalMemberAccess] - with async_op it is there
            return tuple(map(bool, votes.tolist()))

        return answer

    def meet(self) -> None:
        """Detect a process that is gone, before NCCL waits for it for minutes (collective)."""
        self.any(False)

    def gather(self, tensor: Tensor) -> Tensor:
        """(world_size, *shape): the tensors of all processes (collective)."""
        return self.sum(self._row(tensor))  # with zeros, so to the bit

    def gathering(self, tensor: Tensor) -> Callable[[], Tensor]:
        """`gather` without waiting (collective): a function that waits for all ranks, and returns the rows on the host.

        Call it once; on a GPU it does not wait for what is queued meanwhile.
        """
        if tensor.is_cuda:  # the GPU waits for the others, not this thread
            return gpu.fetched(self.gather(tensor))
        rows = self._row(tensor)
        self.begun += 1
        summed = dist.all_reduce(rows, async_op=True) if self.world.world_size > 1 else None
        return lambda: (summed and summed.wait(), rows)[1]

    def share(self, value: Any) -> Any:
        """Rank 0's value, pickled, in all processes (collective)."""
        values = [value]
        if self.world.world_size > 1:
            dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def open_tracker(self, name: str, project: str, folder: Path, options: dict[str, Any]) -> GeneralTracker:
        """Open one of Accelerate's experiment trackers, with arguments of its class, and begin its run."""
        kind = LOGGER_TYPE_TO_CLASS[name]
        where = (str(folder),) if kind.requires_logging_directory else ()
        tracker = kind(project, *where, **options)
        tracker.start()
        return tracker

    def close(self) -> None:
        """Leave the process group together: a launcher ends the others when the first is gone (collective)."""
        self.any(False)
        if dist.is_initialized():
            dist.destroy_process_group()

    def _row(self, tensor: Tensor) -> Tensor:
        """(world_size, *shape): the tensor in this process's row, zeros in the others."""
        rows = tensor.new_zeros(self.world.world_size, *tensor.shape)
        rows[self.world.rank] = tensor
        return rows

    def _meet(self) -> Store | None:
        """Connect to rank 0's store, through which processes exchange facts before they form a group (collective)."""
        if self.world.launcher == "python":
            os.environ.pop("LOCAL_RANK", None)  # with it accelerate would expect other processes
            return None
        os.environ.update(self.world.as_environment())
        rendezvous.find_main(self.world)
        try:  # of one process, or rank 0 would wait here for the others
            store, _, _ = next(torch_rendezvous("env://", world_size=1, timeout=rendezvous.TIMEOUT))
        except dist.DistError as error:
            reason = str(error).splitlines()[0][:200]
            raise rendezvous.NotMetError(f"no meeting at {self.world.address}:{self.world.port}: {reason}") from None
        store.set_timeout(rendezvous.TIMEOUT)
        return store

    def _join(self, store: Store) -> None:
        if (line := rendezvous.choose_interface(self.world)) and self.world.local_rank == 0:
            sys.stderr.write(f"{line}\n")
        dist.init_process_group(
            # gloo beside NCCL carries the stop flag without a host sync
            "cpu:gloo,cuda:nccl" if self._on_gpu else "gloo",
            store=store,
            rank=self.world.rank,
            world_size=self.world.world_size,
            timeout=rendezvous.TIMEOUT,
            device_id=self.device if self._on_gpu else None,
        )

"""The one place that talks to other processes and to the device: accelerate and torch.distributed end here."""

import os
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from accelerate.utils import DDPCommunicationHookType, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data.types import Shard
from trainer import binding
from trainer.config import Precision
from trainer.world import World

TIMEOUT = timedelta(minutes=10)  # for a rank that never comes

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def lost_contact(error: RuntimeError) -> bool:
    """Whether the error means that another process, or the way to it, is gone."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


class Runtime:
    """This process among the others, and its device.

    Every method marked `collective` must be called by all ranks, in the same order.
    """

    def __init__(self, world: World, precision: Precision, threads: int, *, deterministic: bool = False) -> None:
        """Join the process group (collective) and pick the device.

        Args:
            world: Who this process is.
            precision: Arithmetic of the forward pass.
            threads: CPU threads for the model.
            deterministic: Use only algorithms that repeat bit for bit on a GPU.
        """
        self.world, self.threads = world, threads
        # accelerate launch sets this to 1 whatever the machine; accelerate itself guesses and warns where it is missing
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            _choose_algorithms(precision, deterministic=deterministic)
        if world.launcher != "python":
            self._join(on_gpu)
        self._accelerator = Accelerator(cpu=not on_gpu, mixed_precision="no")
        self.device = self._accelerator.device
        self._precision: Precision = precision
        self._deterministic = deterministic
        self._autocast = _AUTOCAST.get(precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")  # a no-op for the others

    @property
    def shard(self) -> Shard:
        """This process's part of the data."""
        return Shard(self.world.rank, self.world.world_size)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.world.is_main

    def varied(self, *, precision: Precision, threads: int) -> "Runtime":
        """The same process of the same group with other arithmetic or CPU threads, from its `use` on."""
        other = copy(self)
        other.threads, other._precision = threads, precision
        other._autocast = _AUTOCAST.get(precision)
        other.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        return other

    def use(self) -> None:
        """Set what holds for the whole process as it was for this runtime: another may have been in use meanwhile."""
        torch.set_num_threads(self.threads)
        if self.device.type == "cuda":
            _choose_algorithms(self._precision, deterministic=self._deterministic)

    def keep_near(self) -> None:
        """Stay on CPUs near this process's GPU, or on its share of a NUMA node, where there are several."""
        cpus = binding.allowed()
        gpus = range(min(self.world.local_world_size, torch.cuda.device_count()))
        homes = [binding.gpu_node(_bus_id(gpu)) for gpu in gpus]
        own = binding.count(self.world, len(cpus))
        binding.bind(binding.share(self.world, cpus, binding.machine(), homes, own))

    def place(self, model: nn.Module, *, channels_last: bool) -> nn.Module:
        """Move a model to the device, in the memory layout its convolutions will see."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return model.to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue] - torch's stub lacks it

    def distribute(self, model: nn.Module, *, compression: str = "none", static: bool = False) -> nn.Module:
        """Wrap for DDP where there are several processes (collective).

        Args:
            model: Already placed.
            compression: What gradients are rounded to on their way: none, bf16 or fp16.
            static: Whether each pass uses the same weights and is followed by an update: DDP refuses `no_sync` then.
        """
        hook = {"bf16": DDPCommunicationHookType.BF16, "fp16": DDPCommunicationHookType.FP16}.get(compression)
        self._accelerator.ddp_handler = DistributedDataParallelKwargs(  # pyright: ignore[reportAttributeAccessIssue]
            gradient_as_bucket_view=True, static_graph=static, comm_hook=hook or DDPCommunicationHookType.NO
        )
        # placed already: to place it again would give a CPU's model other buffers than an average follows
        wrapped = self._accelerator.prepare_model(model, device_placement=False)
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.broadcast_buffers = False  # BatchNorm's statistics are averaged where they are read
        return wrapped

    def seed(self, seed: int) -> None:
        """Seed what dropout and its like draw from, on this device.

        torch.manual_seed goes through every kind of device there is, which costs a small network 5 % of its step.
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def autocast(self) -> AbstractContextManager[object]:
        """The precision's arithmetic, for a forward pass."""
        return torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Gradients stay local inside: for all but the last micro-batch of a step; `model` may be compiled."""
        inner = getattr(model, "_orig_mod", model)
        return inner.no_sync() if isinstance(inner, DistributedDataParallel) else nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """A copy of the tensor, summed over all processes (collective)."""
        total = tensor.clone()
        if self.world.world_size > 1:
            dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process (collective)."""
        return self.any_of(flag)[0]

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Which flags are set in any process (collective); on the host, so that no GPU is waited for."""
        if self.world.world_size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return tuple(map(bool, votes.tolist()))

    def gather(self, tensor: Tensor) -> Tensor:
        """(world_size, *shape) what each process has (collective)."""
        rows = tensor.new_zeros(self.world.world_size, *tensor.shape)
        rows[self.world.rank] = tensor
        return self.sum(rows)  # with zeros, so to the bit

    def open_tracker(self, name: str, project: str, folder: Path, options: dict[str, Any]) -> GeneralTracker:
        """One of Accelerate's experiment trackers, its run begun.

        Args:
            name: As in Accelerate's `log_with`.
            project: What the tracker files the run under.
            folder: For what it writes here.
            options: Of this tracker's class.
        """
        kind = LOGGER_TYPE_TO_CLASS[name]
        where = (str(folder),) if kind.requires_logging_directory else ()
        tracker = kind(project, *where, **options)
        tracker.start()
        return tracker

    def close(self) -> None:
        """Leave the process group, all together: a launcher ends the others when the first is gone (collective)."""
        self.any(False)
        if dist.is_initialized():
            dist.destroy_process_group()

    def _join(self, on_gpu: bool) -> None:
        os.environ.update(self.world.as_environment())
        if on_gpu:
            torch.cuda.set_device(self.world.local_rank)
        # gloo beside NCCL carries the stop flag without a host sync
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)


def _bus_id(gpu: int) -> str:
    found = torch.cuda.get_device_properties(gpu)
    return f"{found.pci_domain_id:04x}:{found.pci_bus_id:02x}:{found.pci_device_id:02x}.0"


def _choose_algorithms(precision: Precision, *, deterministic: bool) -> None:
    """Set what PyTorch may do on a GPU; by default its convolutions round to tf32, also where fp32 was asked for."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True)

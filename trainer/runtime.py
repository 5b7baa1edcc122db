"""The one place that talks to other processes and to the device: accelerate and torch.distributed end here."""

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data.types import Shard
from trainer.world import World

TIMEOUT = timedelta(minutes=10)  # for a rank that never comes


class Runtime:
    """This process among the others, and its device.

    Every method marked `collective` must be called by all ranks, in the same order.
    """

    def __init__(self, world: World, precision: str, threads: int) -> None:
        """Join the process group (collective) and pick the device.

        Args:
            world: Who this process is.
            precision: fp32 or bf16.
            threads: CPU threads for the model.
        """
        self.world = world
        # accelerate launch sets this to 1 whatever the machine; accelerate itself guesses and warns where it is missing
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        on_gpu = torch.cuda.is_available()
        if world.launcher != "python":
            self._join(on_gpu)
        self._accelerator = Accelerator(
            cpu=not on_gpu,
            mixed_precision="bf16" if precision == "bf16" else "no",
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
        self.device = self._accelerator.device

    @property
    def shard(self) -> Shard:
        """This process's part of the data."""
        return Shard(self.world.rank, self.world.world_size)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.world.is_main

    def place(self, model: nn.Module, *, channels_last: bool) -> nn.Module:
        """Move a model to the device, in the memory layout its convolutions will see."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return model.to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue] - torch's stub lacks it

    def distribute(self, model: nn.Module) -> nn.Module:
        """Wrap for autocast, and for DDP where there are several processes (collective)."""
        return self._accelerator.prepare_model(model)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients; averages them over processes unless inside `no_sync` (collective)."""
        self._accelerator.backward(loss)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Gradients stay local inside: for all but the last micro-batch of a step."""
        return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """A copy of the tensor, summed over all processes (collective)."""
        total = tensor.clone()
        if self.world.world_size > 1:
            dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process (collective); on the host, so that no GPU is waited for."""
        if self.world.world_size == 1:
            return flag
        votes = torch.tensor(int(flag), dtype=torch.int32)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process rank 0's buffers: BatchNorm's statistics (collective)."""
        if self.world.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def barrier(self) -> None:
        """Wait until all processes are here (collective)."""
        self.any(False)

    def close(self) -> None:
        """Leave the process group."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _join(self, on_gpu: bool) -> None:
        os.environ.update(self.world.as_environment())
        if on_gpu:
            torch.cuda.set_device(self.world.local_rank)
        # gloo beside NCCL carries the stop flag without a host sync
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)

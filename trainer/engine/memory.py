"""Finding a micro-batch that fits into memory, and advice where one does not."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from models import factory
from trainer import gpu
from trainer.exits import RunEndedError
from trainer.optim.loss import losses
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime

# messages of PyTorch, CUDA, cuDNN, cuBLAS, NCCL, DALI and its nvImageCodec (codes 5 and 15), and C++
SHORT = re.compile(
    r"out of memory|DefaultCPUAllocator|can't allocate|bad_alloc|ALLOC(ATION)?_FAILED|cudaErrorMemoryAllocation"
    r"|CUDA (allocation failed|malloc|calloc|host alloc)|ALLOCATOR_FAILURE|nvImageCodec failure: '#1?5'",
    re.IGNORECASE,
)
_RESERVE = 0.15  # of a GPU, for what a run holds besides a step: averaged weights, DDP's buffers, DALI, next batches


class MemoryShortError(RunEndedError):
    """The device's memory does not hold a micro-batch; the message says what to lower."""


def is_short(error: Exception) -> bool:
    """Whether an error means that a GPU or the host ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or SHORT.search(str(error)) is not None


@contextmanager
def advising(recipe: Recipe) -> Iterator[None]:
    """Turn an error for lack of memory into advice.

    Raises:
        MemoryShortError: Memory ran out inside.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
        decoder = "\n  DALI ran out of it: --loader threads decodes without it" if "nvidia.dali" in str(error) else ""
        raise MemoryShortError(advice(recipe) + decoder) from error


def advice(recipe: Recipe) -> str:
    size, smaller = recipe.input.train_size, _smaller(recipe)
    lower = f"--micro-batch {smaller[0]} keeps global_batch {recipe.global_batch}, or " if smaller else ""
    return (
        f"out of memory: a micro_batch of {recipe.micro_batch} images of {size} px does not fit\n"
        f"  {lower}--accumulate auto finds what fits; a smaller --input.train-size needs less, too\n"
        "  a run that has begun keeps its recipe: name another --output"
    )


def fitted(recipe: Recipe, runtime: Runtime, *, channels_last: bool) -> Recipe:
    """The recipe with the greatest `micro_batch`, its own or a divisor of it, that fits everywhere (collective).

    Raises:
        MemoryShortError: Not even one image fits.
    """
    with _reserve(runtime.device):
        for micro_batch in (recipe.micro_batch, *_smaller(recipe)):
            smaller = replace(recipe, micro_batch=micro_batch)
            if not runtime.any(_runs_out(smaller, runtime, channels_last)):
                return smaller
    raise MemoryShortError(advice(replace(recipe, micro_batch=1)))


@contextmanager
def _reserve(device: torch.device) -> Iterator[None]:
    """Leave a part of a GPU unused inside, and reset its peak of memory afterwards."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(1 - _RESERVE, device.index)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device.index)
        torch.cuda.reset_peak_memory_stats(device)


def _smaller(recipe: Recipe) -> list[int]:
    """Smaller divisors of the micro-batch, the greatest first; at least 2, which mixing and BatchNorm need."""
    return [size for size in range(recipe.micro_batch // 2, 1, -1) if recipe.micro_batch % size == 0]


def _runs_out(recipe: Recipe, runtime: Runtime, channels_last: bool) -> bool:
    """Whether two steps of a throwaway network run out of memory."""
    try:
        _try_step(recipe, runtime, channels_last)
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
        return True
    finally:
        gc.collect()  # the error's traceback and the graph refer to each other
        if runtime.device.type == "cuda":
            torch.cuda.empty_cache()
    return False


def _try_step(recipe: Recipe, runtime: Runtime, channels_last: bool) -> None:
    network = gpu.place(factory.build(recipe.model), runtime.device, channels_last=channels_last).train()
    size, device = recipe.input.train_size, runtime.device
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)  # no optimizer needs more memory
    for _ in range(2):  # the second holds the optimizer's state too
        images = torch.randn(recipe.micro_batch, 3, size, size, device=device)
        targets = torch.zeros(recipe.micro_batch, dtype=torch.int64, device=device)
        with runtime.autocast():
            outputs = network(images)
        losses(outputs, targets, recipe.loss).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

"""What to do where a micro-batch does not fit into memory."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from models import factory
from trainer.exits import RunEndedError
from trainer.optim.loss import losses
from trainer.recipe.config import Recipe
from trainer.runtime import Runtime

# in the words of PyTorch, CUDA, cuDNN, cuBLAS, NCCL, DALI and its nvImageCodec (codes 5 and 15), and C++
SHORT = re.compile(
    r"out of memory|DefaultCPUAllocator|can't allocate|bad_alloc|ALLOC(ATION)?_FAILED|cudaErrorMemoryAllocation"
    r"|CUDA (allocation failed|malloc|calloc|host alloc)|ALLOCATOR_FAILURE|nvImageCodec failure: '#1?5'",
    re.IGNORECASE,
)
_ROOM = 0.15  # of a GPU, for what a run has beside a step: averaged weights, DDP's buffers, DALI, the next batches


class MemoryShortError(RunEndedError):
    """The device's memory does not hold a micro-batch; the message says what to lower."""


def is_short(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or SHORT.search(str(error)) is not None


@contextmanager
def advising(recipe: Recipe) -> Iterator[None]:
    """Say what to lower where memory runs out inside.

    Raises:
        MemoryShortError: It did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_short(error):
            decoder = (
                "\n  DALI ran out of it: --loader threads decodes without it" if "nvidia.dali" in str(error) else ""
            )
            raise MemoryShortError(advice(recipe) + decoder) from error
        raise


def advice(recipe: Recipe) -> str:
    """What to lower, for the user."""
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
    with _leaving_room(runtime.device):
        for micro_batch in (recipe.micro_batch, *_smaller(recipe)):
            smaller = replace(recipe, micro_batch=micro_batch)
            if not runtime.any(_runs_out(smaller, runtime, channels_last)):
                return smaller
    raise MemoryShortError(advice(replace(recipe, micro_batch=1)))


@contextmanager
def _leaving_room(device: torch.device) -> Iterator[None]:
    """Try with less than all of a GPU; what is tried is no part of the peak that the run tells."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(1 - _ROOM, device.index)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device.index)
        torch.cuda.reset_peak_memory_stats(device)


def _smaller(recipe: Recipe) -> list[int]:
    """Divisors of the micro-batch below it, greatest first; mixing needs two images, and so does BatchNorm."""
    return [size for size in range(recipe.micro_batch // 2, 1, -1) if recipe.micro_batch % size == 0]


def _runs_out(recipe: Recipe, runtime: Runtime, channels_last: bool) -> bool:
    """Whether two steps of a network that is thrown away run out of memory."""
    try:
        _try_step(recipe, runtime, channels_last)
    except (RuntimeError, MemoryError) as error:
        if not is_short(error):
            raise
        return True
    finally:
        gc.collect()  # the error's traceback and the graph hold each other
        if runtime.device.type == "cuda":
            torch.cuda.empty_cache()
    return False


def _try_step(recipe: Recipe, runtime: Runtime, channels_last: bool) -> None:
    network = runtime.place(factory.build(recipe.model), channels_last=channels_last).train()
    size, device = recipe.input.train_size, runtime.device
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)  # no optimizer keeps more
    for _ in range(2):  # the second has the optimizer's state beside it
        images = torch.randn(recipe.micro_batch, 3, size, size, device=device)
        targets = torch.zeros(recipe.micro_batch, dtype=torch.int64, device=device)
        with runtime.autocast():
            outputs = network(images)
        losses(outputs, targets, recipe.loss).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

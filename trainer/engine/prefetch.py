"""Copies batches to a GPU while it computes on the one before, and limits how far the host runs ahead."""

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from data.types import Batch
from trainer.telemetry.phases import Phases


def on_device(batches: Iterator[Batch], device: torch.device, phases: Phases | None = None) -> Iterator[Batch]:
    """The same batches with their tensors on the device; each is copied to a GPU while it computes on the one before.

    For a GPU it reads one batch ahead of those it has yielded.

    Args:
        batches: In page-locked memory, or on the device already.
        device: Where they are used, on its current stream.
        phases: Measures the copies to a GPU.
    """
    if device.type != "cuda":
        yield from batches
        return
    copies, ahead = _copies(device), None
    for batch in batches:
        with torch.cuda.stream(copies), phases.copying() if phases else nullcontext():
            copied = _moved(batch, device), copies.record_event()
        if ahead:
            yield _arrived(*ahead)
        ahead = copied
    if ahead:
        yield _arrived(*ahead)


class Lead:
    """Keeps the host at most two steps ahead of a GPU; with few launches a step, as in CUDA graphs, nothing else does.

    Otherwise the batches of all those steps would take memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._launched: deque[torch.cuda.Event] = deque()

    def step(self) -> None:
        """Call after launching a step: waits for the one two before it, which all ranks have launched by now."""
        if not self._on_gpu:
            return
        # blocking: the thread sleeps, and leaves its core to the loader's
        self._launched.append(event := torch.cuda.Event(blocking=True))
        event.record()
        if len(self._launched) > 2:
            self._launched.popleft().synchronize()  # sync


@cache
def _copies(device: torch.device) -> torch.cuda.Stream:
    """One stream for the process: the allocator keeps separate memory for every stream that was used."""
    return torch.cuda.Stream(device)


def _moved(batch: Batch, device: torch.device) -> Batch:
    tensors = (batch.images, batch.targets, batch.indices, batch.valid)
    images, targets, indices, valid = (_sent(tensor, device) for tensor in tensors)
    return replace(batch, images=images, targets=targets, indices=indices, valid=valid)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    # a copy from pageable memory would block until those before it on its stream are done
    return tensor if tensor.is_cuda else tensor.pin_memory().to(device, non_blocking=True)


def _arrived(batch: Batch, copied: torch.Event) -> Batch:
    stream = torch.cuda.current_stream()
    stream.wait_event(copied)
    for tensor in (batch.images, batch.targets, batch.indices, batch.valid):
        tensor.record_stream(stream)  # or its memory could be reused for the next copy while it is read
    return batch

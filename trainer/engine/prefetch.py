"""Batches on their way to the device, while it works on the one before."""

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
    """The same batches, with what a step reads on the device; a GPU copies each while it computes on the last.

    Takes one batch more from its source than it has given. Batches for the CPU pass through.

    Args:
        batches: In page-locked memory, or on the device already.
        device: Where they are used, on its current stream.
        phases: Takes the time of the copies to a GPU.
    """
    if device.type != "cuda":
        yield from batches
        return
    copies, ahead = _copies(device), None
    for batch in batches:
        with torch.cuda.stream(copies), phases.copying() if phases else nullcontext():
            coming = _moved(batch, device), copies.record_event()
        if ahead:
            yield _arrived(*ahead)
        ahead = coming
    if ahead:
        yield _arrived(*ahead)


class Lead:
    """Keeps the host at most two steps ahead of a GPU: with few launches a step, as by CUDA graphs, nothing else does.

    A host further ahead would take memory for all the batches of its lead.
    """

    def __init__(self, device: torch.device) -> None:
        """No step is launched yet."""
        self._on_gpu = device.type == "cuda"
        self._launched: deque[torch.cuda.Event] = deque()

    def step(self) -> None:
        """A step is launched: wait for the one two before it, of which all ranks have launched their part."""
        if not self._on_gpu:
            return
        # blocking: the thread sleeps, while the loader's use its core
        self._launched.append(event := torch.cuda.Event(blocking=True))
        event.record()
        if len(self._launched) > 2:
            self._launched.popleft().synchronize()  # sync


@cache
def _copies(device: torch.device) -> torch.cuda.Stream:
    """One for the process: the allocator keeps memory apart for each stream that it was ever asked for."""
    return torch.cuda.Stream(device)


def _moved(batch: Batch, device: torch.device) -> Batch:
    parts = (batch.images, batch.targets, batch.indices, batch.valid)
    images, targets, indices, valid = (_sent(part, device) for part in parts)
    return replace(batch, images=images, targets=targets, indices=indices, valid=valid)


def _sent(part: Tensor, device: torch.device) -> Tensor:
    # a copy from pageable memory would wait for those before it on its stream
    return part if part.is_cuda else part.pin_memory().to(device, non_blocking=True)


def _arrived(batch: Batch, copied: torch.Event) -> Batch:
    stream = torch.cuda.current_stream()
    stream.wait_event(copied)
    for part in (batch.images, batch.targets, batch.indices, batch.valid):
        part.record_stream(stream)  # or its memory might be taken for the next copy while it is read
    return batch

"""Batches on their way to the device, while it works on the one before."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch

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
    copies, ahead = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(copies), phases.copying() if phases else nullcontext():
            coming = _moved(batch, device), copies.record_event()
        if ahead:
            yield _arrived(*ahead)
        ahead = coming
    if ahead:
        yield _arrived(*ahead)


def _moved(batch: Batch, device: torch.device) -> Batch:
    images, targets, valid = (part.to(device, non_blocking=True) for part in (batch.images, batch.targets, batch.valid))
    return replace(batch, images=images, targets=targets, valid=valid)


def _arrived(batch: Batch, copied: torch.Event) -> Batch:
    stream = torch.cuda.current_stream()
    stream.wait_event(copied)
    for part in (batch.images, batch.targets, batch.valid):
        part.record_stream(stream)  # or its memory might be taken for the next copy while it is read
    return batch

"""What a process takes of its device, read on the host without waiting for the device."""

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass

import torch

_RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage counts in bytes there, elsewhere in kilobytes


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process."""

    memory_gb: float
    """Most memory held so far, 1e9 bytes: PyTorch's on a GPU, on a CPU the whole process's."""
    power_w: float | None
    """What the device draws now; None where it does not say."""
    host_memory_gb: float
    """Most main memory held so far, 1e9 bytes."""


def usage(device: torch.device) -> Usage:
    """What this process has taken up to now."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_BYTES / 1e9
    if device.type != "cuda":
        return Usage(host, None, host)
    return Usage(torch.cuda.max_memory_allocated(device) / 1e9, _power_w(device), host)


def _power_w(device: torch.device) -> float | None:
    # needs pynvml, whose errors have no name without it: a figure that is missing must not end a run
    with suppress(Exception):
        return torch.cuda.power_draw(device) / 1e3  # milliwatts
    return None

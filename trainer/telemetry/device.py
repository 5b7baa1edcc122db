"""What a process takes of its device, read on the host without waiting for the device."""

import logging
import resource
import sys
from dataclasses import dataclass
from functools import cache

import torch

_RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage counts in bytes there, elsewhere in kilobytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Of one process."""

    memory_gb: float
    """Most memory held so far, 1e9 bytes: PyTorch's on a GPU, on a CPU the whole process's."""
    device_memory_gb: float | None
    """In use on a GPU now, 1e9 bytes, whoever took it: DALI, CUDA and other processes too. None on a CPU."""
    power_w: float | None
    """What the device draws now; None where it does not say."""
    host_memory_gb: float
    """Most main memory held so far, 1e9 bytes."""


def usage(device: torch.device) -> Usage:
    """What this process has taken up to now."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_BYTES / 1e9
    if device.type != "cuda":
        return Usage(memory_gb=host, device_memory_gb=None, power_w=None, host_memory_gb=host)
    free, total = torch.cuda.mem_get_info(device)
    return Usage(
        memory_gb=torch.cuda.max_memory_allocated(device) / 1e9,
        device_memory_gb=(total - free) / 1e9,
        power_w=_power_w(device),
        host_memory_gb=host,
    )


def _power_w(device: torch.device) -> float | None:
    try:
        return torch.cuda.power_draw(device) / 1e3  # milliwatts
    except Exception as error:  # of pynvml, and without it of no name: a missing figure must not end a run
        _say_once(f"{type(error).__name__}: {error}")
        return None


@cache
def _say_once(why: str) -> None:
    _log.warning("power and energy are not recorded (%s); they need the package nvidia-ml-py", why)

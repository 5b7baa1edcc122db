"""What a device can compute at most, and what this process uses of it."""

import logging
import re
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from trainer.recipe.config import Precision

PEAKS: Mapping[str, Mapping[Precision, float]] = {
    "B200": {"bf16": 2250, "fp16": 2250, "tf32": 1125, "fp32": 75},
    "H200": {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "H100 PCIe": {"bf16": 756, "fp16": 756, "tf32": 378, "fp32": 51},
    "H100 NVL": {"bf16": 835, "fp16": 835, "tf32": 417.5, "fp32": 60},
    "H100": {"bf16": 989.4, "fp16": 989.4, "tf32": 494.7, "fp32": 66.9},
    "A100": {"bf16": 312, "fp16": 312, "tf32": 156, "fp32": 19.5},
    "A40": {"bf16": 149.7, "fp16": 149.7, "tf32": 74.8, "fp32": 37.4},
    "A30": {"bf16": 165, "fp16": 165, "tf32": 82, "fp32": 10.3},
    "A10": {"bf16": 125, "fp16": 125, "tf32": 62.5, "fp32": 31.2},
    "L40S": {"bf16": 362, "fp16": 362, "tf32": 183, "fp32": 91.6},
    "L40": {"bf16": 181, "fp16": 181, "tf32": 90.5, "fp32": 90.5},
    "L4": {"bf16": 121, "fp16": 121, "tf32": 60, "fp32": 30.3},
    "RTX A6000": {"bf16": 154.8, "fp16": 154.8, "tf32": 77.4, "fp32": 38.7},
    "RTX 4090": {"bf16": 165.2, "fp16": 165.2, "tf32": 82.6, "fp32": 82.6},
    "RTX 3090": {"bf16": 71, "fp16": 71, "tf32": 35.6, "fp32": 35.6},
    "V100": {"fp16": 125, "fp32": 15.7},
    "T4": {"fp16": 65, "fp32": 8.1},
}
"""By a part of the device's name: 1e12 operations a second on dense matrices, accumulated in fp32.

Reference:
    NVIDIA's data sheets of these products, and its white papers on the Ampere GA102 and Ada architectures.
"""

_RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage counts in bytes there, elsewhere in kilobytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Memory and power of one process's device."""

    memory_gb: float
    """Peak memory so far, 1e9 bytes: on a GPU what PyTorch allocated, on a CPU that of the process."""
    device_memory_gb: float | None
    """Memory of the GPU in use now, 1e9 bytes, by DALI, CUDA and other processes too; None on a CPU."""
    host_memory_gb: float
    """Peak main memory so far, 1e9 bytes."""
    power_w: float | None
    """Power that the device draws now; None where it cannot be read."""


def usage(device: torch.device) -> Usage:
    """Read the usage on the host, without waiting for the device."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_BYTES / 1e9
    if device.type != "cuda":
        return Usage(memory_gb=host, device_memory_gb=None, host_memory_gb=host, power_w=None)
    free, total = torch.cuda.mem_get_info(device)
    return Usage(
        memory_gb=torch.cuda.max_memory_allocated(device) / 1e9,
        device_memory_gb=(total - free) / 1e9,
        host_memory_gb=host,
        power_w=_power_w(device),
    )


def _power_w(device: torch.device) -> float | None:
    try:
        return torch.cuda.power_draw(device) / 1e3  # milliwatts
    except Exception as error:  # pynvml has its own kinds; a missing figure must not end a run
        _warn_once(f"{type(error).__name__}: {error}")
        return None


@cache
def _warn_once(why: str) -> None:
    _log.warning("power and energy are not recorded (%s); they need the package nvidia-ml-py", why)


def peak_tflops(device: str, precision: Precision) -> float | None:
    """Peak of a device by its name, such as `NVIDIA A100-SXM4-80GB`; None where it is not in the table."""
    names = [name for name in PEAKS if re.search(rf"\b{name}\b", device)]
    return PEAKS[max(names, key=len)].get(precision) if names else None

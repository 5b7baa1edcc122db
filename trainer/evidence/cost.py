"""Time, devices, energy and memory that a run used. Standard library only."""

import statistics
from dataclasses import dataclass

from trainer.evidence.history import History

_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of a run so far, from its metrics."""

    hours: float
    """From each start to the last record before the next."""
    device_hours: float
    """The same times the processes, each of which has a device of its own."""
    device_hour: str
    """Unit of the latter: GPU-hours, or CPU process-hours."""
    energy_kwh: float | None
    """Estimated from the power of rank 0's device; None where that is not recorded."""
    memory_gb: float | None
    """Most that rank 0 held."""
    device_memory_gb: float | None
    """Most in use on its GPU at a point, by all programs."""
    images_per_s: float | None
    """Median over the points."""
    data_wait: float | None
    """Median share of the time, 0 to 1."""


def cost(past: History) -> Cost:
    """The sums over the records; steps that were lost to a kill and done again are in no record, and not counted."""
    hours = [max(one.last - one.begun, 0.0) / _HOUR_S for one in past.stretches]
    processes = [int(one.start.get("world_size", 1)) for one in past.stretches]
    on_cpu = any(str(one.start.get("device", "")).startswith("CPU") for one in past.stretches)
    energies = [
        one.watt_s * count for one, count in zip(past.stretches, processes, strict=True) if one.watt_s is not None
    ]
    rates, waits = past.known("images_per_s"), past.known("data_wait")
    return Cost(
        hours=sum(hours),
        device_hours=sum(time * count for time, count in zip(hours, processes, strict=True)),
        device_hour="CPU process-hours" if on_cpu else "GPU-hours",
        energy_kwh=sum(energies) / (1000 * _HOUR_S) if energies else None,
        memory_gb=max(past.known("memory_gb"), default=None),
        device_memory_gb=max(past.known("device_memory_gb"), default=None),
        images_per_s=statistics.median(rates) if rates else None,
        data_wait=statistics.median(waits) if waits else None,
    )


def figure(value: float | None) -> str:
    """A number with three significant digits, but never an exponent."""
    if value is None:
        return "-"
    return next(
        (f"{value:,.{digits}f}" for digits, bound in ((0, 100), (1, 10), (2, 1)) if value >= bound), f"{value:.3f}"
    )

"""Time, devices, energy and memory that a run used. Standard library only."""

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Records = list[dict[str, Any]]

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


def cost(records: Records) -> Cost:
    """The sums over the records; steps that were lost to a kill and done again are in no record, and not counted."""
    starts = [index for index, record in enumerate(records) if record["kind"] == "start"]
    each = (records[begin:end] for begin, end in pairwise([*starts, len(records)]))  # a start, and what follows it
    stretches = [stretch for one in each if (stretch := [record for record in one if "time" in record])]
    processes = [int(stretch[0].get("world_size", 1)) for stretch in stretches]
    hours = [max(stretch[-1]["time"] - stretch[0]["time"], 0.0) / _HOUR_S for stretch in stretches]
    on_cpu = any(str(stretch[0].get("device", "")).startswith("CPU") for stretch in stretches)
    energies = [
        record["power_w"] * max(record["time"] - before["time"], 0.0) * count
        for stretch, count in zip(stretches, processes, strict=True)
        for before, record in pairwise(stretch)
        if "power_w" in record
    ]
    columns = {
        name: [record[name] for record in records if record["kind"] == "train" and name in record]
        for name in ("memory_gb", "device_memory_gb", "images_per_s", "data_wait")
    }
    return Cost(
        hours=sum(hours),
        device_hours=sum(time * count for time, count in zip(hours, processes, strict=True)),
        device_hour="CPU process-hours" if on_cpu else "GPU-hours",
        energy_kwh=sum(energies) / (1000 * _HOUR_S) if energies else None,
        memory_gb=max(columns["memory_gb"], default=None),
        device_memory_gb=max(columns["device_memory_gb"], default=None),
        images_per_s=statistics.median(columns["images_per_s"]) if columns["images_per_s"] else None,
        data_wait=statistics.median(columns["data_wait"]) if columns["data_wait"] else None,
    )


def figure(value: float | None) -> str:
    """A number with three significant digits, but never an exponent."""
    if value is None:
        return "-"
    return next(
        (f"{value:,.{digits}f}" for digits, bound in ((0, 100), (1, 10), (2, 1)) if value >= bound), f"{value:.3f}"
    )

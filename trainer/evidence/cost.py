"""What a run took: time, devices, energy, memory. Standard library only."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Records = list[dict[str, Any]]

_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of a run so far, as its metrics tell it."""

    hours: float
    """From each start to the last record before the next."""
    device_hours: float
    """The same times the processes, each of which has a device of its own."""
    device_hour: str
    """What that is of: GPU-hours, or CPU process-hours."""
    energy_kwh: float | None
    """Estimated from rank 0's device; None where it does not say what it draws."""
    memory_gb: float | None
    """Most that rank 0 held."""
    device_memory_gb: float | None
    """Most in use on its GPU at a point, by whomever."""
    images_per_s: float | None
    """Median over the points."""
    data_wait: float | None
    """Median share of the time, 0 to 1."""


def cost(records: Records) -> Cost:
    """What the records come to. Steps that were lost to a kill and done again are in no record, and not counted."""
    stretches = list(filter(None, _stretches(records)))
    train = [record for record in records if record["kind"] == "train"]
    starts = [stretch[0] for stretch in stretches]
    powers = [_energy_j(stretch) for stretch in stretches]
    known = [power for power in powers if power is not None]
    return Cost(
        hours=sum(map(_hours, stretches)),
        device_hours=sum(_hours(stretch) * _processes(stretch[0]) for stretch in stretches),
        device_hour="CPU process-hours" if any(_on_cpu(start) for start in starts) else "GPU-hours",
        energy_kwh=sum(known) / (1000 * _HOUR_S) if known else None,
        memory_gb=max(_values(train, "memory_gb"), default=None),
        device_memory_gb=max(_values(train, "device_memory_gb"), default=None),
        images_per_s=_median(_values(train, "images_per_s")),
        data_wait=_median(_values(train, "data_wait")),
    )


def figure(value: float | None) -> str:
    """Three digits that count, and no exponent."""
    if value is None:
        return "-"
    return next(
        (f"{value:,.{digits}f}" for digits, bound in ((0, 100), (1, 10), (2, 1)) if value >= bound), f"{value:.3f}"
    )


def _stretches(records: Records) -> Iterator[Records]:
    """Each start with what was recorded until the next."""
    starts = [index for index, record in enumerate(records) if record["kind"] == "start"]
    for begin, end in pairwise([*starts, len(records)]):
        yield [record for record in records[begin:end] if "time" in record]


def _hours(stretch: Records) -> float:
    return max(stretch[-1]["time"] - stretch[0]["time"], 0.0) / _HOUR_S if stretch else 0.0


def _energy_j(stretch: Records) -> float | None:
    """Power at each point times the time since the record before, of all devices; None where none is told."""
    told = [
        record["power_w"] * max(record["time"] - before["time"], 0.0)
        for before, record in pairwise(stretch)
        if "power_w" in record
    ]
    return sum(told) * _processes(stretch[0]) if told else None


def _processes(start: dict[str, Any]) -> int:
    return int(start.get("world_size", 1))


def _on_cpu(start: dict[str, Any]) -> bool:
    return str(start.get("device", "")).startswith("CPU")


def _values(records: Records, name: str) -> list[float]:
    return [record[name] for record in records if name in record]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None

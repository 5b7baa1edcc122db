"""What a report needs of metrics.jsonl, which may have a million lines. Standard library only."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

Record = dict[str, Any]

EVALUATIONS = ("eval", "eval_ema")
FIGURES = ("loss", "top1", "lr", "images_seen", "images_per_s", "data_wait", "memory_gb", "device_memory_gb")


@dataclass(slots=True)
class Stretch:
    """What one start of the run did."""

    start: Record
    begun: float
    """When, seconds since 1970."""
    last: float
    """When its last record so far was written."""
    watt_s: float | None = None
    """Energy of rank 0's device; None where it is not recorded."""

    def add(self, record: Record) -> None:
        if (now := record.get("time")) is None:
            return
        if "power_w" in record:
            self.watt_s = (self.watt_s or 0.0) + record["power_w"] * max(now - self.last, 0.0)
        self.last = now


@dataclass(slots=True)
class History:
    """The records of a run: those of starts and evaluations as they are, of all others some figures as numbers."""

    events: list[Record] = field(default_factory=list[Record])
    """Starts, evaluations and what ended in a divergence, in their order."""
    steps: "array[float]" = field(default_factory=lambda: array("d"))
    """Of the `train` records."""
    figures: "dict[str, array[float]]" = field(default_factory=lambda: {name: array("d") for name in FIGURES})
    """Of the same; not a number where it was not known."""
    stretches: list[Stretch] = field(default_factory=list[Stretch])
    records: int = 0
    """All but the starts."""
    replaced: int = 0
    """Training images that others stood in for, up to the last record."""

    def add(self, record: Record) -> None:
        kind = record["kind"]
        if kind == "start":
            self.stretches.append(Stretch(record, record.get("time", 0.0), record.get("time", 0.0)))
        else:
            self.records += 1
            for stretch in self.stretches[-1:]:
                stretch.add(record)
        if kind in ("start", "diverged", *EVALUATIONS):
            self.events.append(record)
        elif kind == "train":
            self.steps.append(record["step"])
            self.replaced = record.get("replaced", self.replaced)
            for name, column in self.figures.items():
                column.append(record.get(name, nan))

    def of_kind(self, *kinds: str) -> list[Record]:
        """The starts, divergences, or evaluations of a kind."""
        return [record for record in self.events if record["kind"] in kinds]

    @property
    def evaluated(self) -> list[Record]:
        """The evaluations of the weights that the result is of: the averaged ones where there are any."""
        return self.of_kind("eval_ema") or self.of_kind("eval")

    def known(self, name: str) -> list[float]:
        """A figure of the `train` records that have it."""
        return [value for value in self.figures[name] if not isnan(value)]


def history(records: Iterable[Record]) -> History:
    """The history of a run from its records, one after the other."""
    past = History()
    for record in records:
        past.add(record)
    return past

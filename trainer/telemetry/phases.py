"""Where the time of training goes, phase by phase, measured on the device without waiting for it."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

Phase = Literal["data_wait", "forward", "backward", "all_reduce", "optimizer", "checkpoint", "other"]

KEPT = 10_000  # newest stamps: of some 2,000 steps, where nobody asks for longer

PHASES: tuple[Phase, ...] = ("data_wait", "forward", "backward", "all_reduce", "optimizer", "checkpoint", "other")


@dataclass(frozen=True, slots=True)
class Lap:
    """The steps between two looks at the clock."""

    shares: dict[Phase, float]
    """Share of each phase in the time; together 1, or empty where no time was measured."""
    host_to_device: float | None
    """Time of copies to a GPU over the same time: beside the phases, not among them. None without a GPU."""
    step_ms: tuple[float, ...]
    """How long each step took, waits and saves included."""

    def percentile(self, percent: float) -> float | None:
        """Milliseconds that so many percent of the steps stayed below."""
        return float(np.percentile(self.step_ms, percent)) if self.step_ms else None


class Phases:
    """The clock of one process's steps.

    A CPU computes while it is asked to, so its phases are read off the host's clock. A GPU is given its work ahead of
    time: an event between two phases takes the time when the GPU comes to it, and `data_wait` is then the time that the
    GPU stood still, not the host. Events are read when the host has waited for the GPU anyway.
    """

    def __init__(self, device: torch.device) -> None:
        """No time has passed."""
        self._now = _stamper(device)
        self._on_gpu = device.type == "cuda"
        self._marks: deque[tuple[Phase, _Stamp]] = deque(maxlen=KEPT)
        self._copies: deque[tuple[_Stamp, _Stamp]] = deque(maxlen=KEPT)

    def begin(self, phase: Phase) -> None:
        """What comes now is this phase; the one before ends."""
        self._marks.append((phase, self._now()))

    def restart(self) -> None:
        """Forget what was measured, and go on from now."""
        self._copies.clear()
        self._marks.clear()
        self.begin("other")

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Time what the current stream copies inside; of a GPU only."""
        begun = self._now()
        yield
        self._copies.append((begun, self._now()))

    def lap(self) -> Lap:
        """What was measured since the last lap, up to the phase that goes on; the host has waited for the device."""
        times = _seconds([stamp for _, stamp in self._marks])
        spent: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        for (phase, _), (begun, ended) in zip(self._marks, pairwise(times), strict=False):
            spent[phase] += ended - begun
        # a step ends where "other" begins
        ends = [at for (phase, _), at in zip(self._marks, times, strict=True) if phase == "other"]
        total = sum(spent.values())
        shares: dict[Phase, float] = {phase: took / total for phase, took in spent.items()} if total > 0 else {}
        while len(self._marks) > 1:
            self._marks.popleft()
        copied = self._copied_s() / total if self._on_gpu and total > 0 else None
        return Lap(shares, copied, tuple(1e3 * (ended - begun) for begun, ended in pairwise(ends)))

    def _copied_s(self) -> float:
        """Of the copies that are done: the newest, for the next step, may go on."""
        total = 0.0
        while self._copies and _passed(self._copies[0][1]):
            begun, ended = _seconds(self._copies.popleft())
            total += ended - begun
        return total


_Stamp = float | torch.cuda.Event


def _stamper(device: torch.device) -> Callable[[], _Stamp]:
    return _event if device.type == "cuda" else time.perf_counter


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _seconds(stamps: Sequence[_Stamp]) -> list[float]:
    """When each stamp was passed, counted from the first."""
    if stamps and isinstance(stamps[0], torch.cuda.Event):
        return [stamps[0].elapsed_time(stamp) / 1e3 for stamp in stamps]  # pyright: ignore[reportArgumentType]
    return [float(stamp) for stamp in stamps]  # pyright: ignore[reportArgumentType]


def _passed(stamp: _Stamp) -> bool:
    return not isinstance(stamp, torch.cuda.Event) or stamp.query()

"""The time of each phase of training, measured on the device without waiting for it."""

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

KEPT = 10_000  # newest stamps, of some 2,000 steps, if `cut` is not called for longer

PHASES: tuple[Phase, ...] = ("data_wait", "forward", "backward", "all_reduce", "optimizer", "checkpoint", "other")


@dataclass(frozen=True, slots=True)
class Lap:
    """The steps between two calls of `Phases.cut`."""

    seconds: float
    """Time of them all."""
    shares: dict[Phase, float]
    """Share of each phase in the time, of the newest steps if there were many; together 1, or empty without any."""
    host_to_device: float | None
    """Time of copies to a GPU as a share of the same time; they overlap the phases. None without a GPU."""
    step_ms: tuple[float, ...]
    """Duration of each step, waits and saves included."""

    def percentile(self, percent: float) -> float | None:
        """This percentile of the steps' durations, milliseconds; None where there are none."""
        return float(np.percentile(self.step_ms, percent)) if self.step_ms else None


class Phases:
    """Times the phases of one process's steps.

    On a CPU by the host's clock. A GPU works through a queue: an event queued between two phases records the time when
    the GPU reaches it, so `data_wait` is the time that the GPU was idle, not the host. Events are read when the GPU has
    passed them.
    """

    def __init__(self, device: torch.device) -> None:
        self._now: Callable[[], _Stamp] = _event if device.type == "cuda" else time.perf_counter
        self._on_gpu = device.type == "cuda"
        self.begun = 0
        """Phases begun so far."""
        self._marks: deque[tuple[Phase, _Stamp]] = deque(maxlen=KEPT)
        self._first = self._now()  # of the lap, whose marks may be more than are kept
        self._copies: deque[tuple[_Stamp, _Stamp]] = deque(maxlen=KEPT)

    def begin(self, phase: Phase) -> None:
        """End the phase before, and begin this one."""
        self.begun += 1
        self._marks.append((phase, self._now()))

    def restart(self) -> None:
        """Drop what was measured, and measure from now on."""
        self._copies.clear()
        self._marks.clear()
        self._first = self._now()
        self.begin("other")

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Time what the current stream of a GPU copies inside."""
        begun = self._now()
        yield
        self._copies.append((begun, self._now()))

    def cut(self) -> Callable[[], Lap]:
        """End what is measured with the current phase's begin: a function that returns it, once the device is there."""
        marks, first = tuple(self._marks), self._first
        self._marks = deque(marks[-1:], maxlen=KEPT)
        self._first = marks[-1][1] if marks else first
        return lambda: self._lap(marks, first)

    def _lap(self, marks: Sequence[tuple[Phase, "_Stamp"]], first: "_Stamp") -> Lap:
        begin, end = _seconds([first, marks[-1][1] if marks else first])
        times = _seconds([stamp for _, stamp in marks])
        spent: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        for (phase, _), (begun, ended) in zip(marks, pairwise(times), strict=False):
            spent[phase] += ended - begun
        # a step ends where "other" begins
        ends = [at for (phase, _), at in zip(marks, times, strict=True) if phase == "other"]
        total = sum(spent.values())
        shares: dict[Phase, float] = {phase: took / total for phase, took in spent.items()} if total > 0 else {}
        copied = self._copied_s() / total if self._on_gpu and total > 0 else None
        return Lap(end - begin, shares, copied, tuple(1e3 * (ended - begun) for begun, ended in pairwise(ends)))

    def _copied_s(self) -> float:
        """Time of the finished copies; the newest, for the next step, may still run."""
        total = 0.0
        while self._copies and (isinstance(end := self._copies[0][1], float | int) or end.query()):
            begun, ended = _seconds(self._copies.popleft())
            total += ended - begun
        return total


_Stamp = float | torch.cuda.Event


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _seconds(stamps: Sequence[_Stamp]) -> list[float]:
    """The time of each stamp, on a GPU since the first."""
    if stamps and isinstance(stamps[0], torch.cuda.Event):
        return [stamps[0].elapsed_time(stamp) / 1e3 for stamp in stamps]  # pyright: ignore[reportArgumentType]
    return [float(stamp) for stamp in stamps]  # pyright: ignore[reportArgumentType]

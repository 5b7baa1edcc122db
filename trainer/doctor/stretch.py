"""Some seconds of the real loop, with its clocks read before and after."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import torch

from data.types import Batch, Loader
from trainer.doctor import machine
from trainer.doctor.figures import Pace
from trainer.doctor.machine import Reading
from trainer.loop import train_epoch
from trainer.parts import Fit
from trainer.preempt import StopFlag
from trainer.runtime import Runtime
from trainer.state import TrainState


class Alarm(StopFlag):
    """Asks the loop to stop at a step's end, once it has gone so many steps and for so long."""

    def __init__(self) -> None:
        """Ring at once."""
        super().__init__()
        self._state: TrainState | None = None
        self._step, self._end = 0, 0.0

    def arm(self, state: TrainState, steps: int, seconds: float) -> None:
        """Ring when the state is so many steps further, and so much time has passed."""
        self._state, self._step, self._end = state, state.step + steps, perf_counter() + seconds

    @property
    def is_set(self) -> bool:
        """Whether it rings."""
        return (self._state is None or self._state.step >= self._step) and perf_counter() >= self._end


class Clocked:
    """A loader that notes how long it was waited for."""

    def __init__(self, loader: Loader) -> None:
        """`loader` stays the caller's to close."""
        self._loader = loader
        self.waited_s, self.batches, self.images = 0.0, 0, 0

    @property
    def batches_per_epoch(self) -> int:
        """As the loader's."""
        return self._loader.batches_per_epoch

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """As the loader's."""
        batches = self._loader.epoch(epoch, first_batch)
        while True:
            start = perf_counter()
            batch = next(batches, None)
            self.waited_s += perf_counter() - start
            if batch is None:
                return
            self.batches += 1
            self.images += len(batch.targets)
            yield batch

    def close(self) -> None:
        """As the loader's."""
        self._loader.close()


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was done between two readings."""

    begin: Reading
    end: Reading
    images: int
    """Of this process."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end.wall_s - self.begin.wall_s


def train(fit: Fit, *, steps: int, seconds: float) -> Stretch:
    """Train for so many steps at least and so long at least, in the settings of its runtime (collective)."""
    setup, state, first = fit.setup, fit.state, fit.state.step
    alarm, runtime = setup.stop, setup.runtime
    assert isinstance(alarm, Alarm)
    runtime.use()
    runtime.wait()
    runtime.any(False)  # all begin together
    begin = machine.read()
    alarm.arm(state, steps, seconds)
    while not setup.should_stop():
        train_epoch(fit)
    runtime.wait()
    done = (state.step - first) * fit.plan.batches_per_step * fit.plan.micro_batch
    return Stretch(begin, machine.read(), done)


def pace(runtime: Runtime, stretches: Sequence[Stretch]) -> Pace:
    """What an image cost in the quickest of them: other programs can only slow it down (collective).

    In each the slowest process counts, and the mean of their CPU time.
    """
    costs = [(one.seconds / one.images, (one.end.cpu_s - one.begin.cpu_s) / one.images) for one in stretches]
    slowest, mean = agreed(runtime, *(value for cost in costs for value in cost))
    return min((Pace(*pair) for pair in zip(slowest[::2], mean[1::2], strict=True)), key=lambda found: found.seconds)


def agreed(runtime: Runtime, *values: float) -> tuple[list[float], list[float]]:
    """The greatest of each value over the processes, and the mean; the same in all of them (collective)."""
    rows = runtime.gather(torch.tensor(values, dtype=torch.float64, device=runtime.device))
    return rows.amax(0).tolist(), rows.mean(0).tolist()


def moved(batch: Batch, device: torch.device, times: int = 1) -> Batch:
    """A batch on the device, its images several times over."""
    images, targets, valid = (part.to(device) for part in (batch.images, batch.targets, batch.valid))
    return replace(
        batch,
        images=images.repeat(times, 1, 1, 1),
        targets=targets.repeat(times),
        valid=valid.repeat(times),
        indices=batch.indices.repeat(times),
    )

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import torch

from data.types import Batch
from trainer.doctor.machine import Reading
from trainer.doctor.stretch import Alarm, Clocked, Stretch, moved, pace
from trainer.runtime import Runtime
from trainer.world import World


def batch(count: int) -> Batch:
    return Batch(
        images=torch.zeros(count, 4, 4, 3, dtype=torch.uint8),
        targets=torch.arange(count),
        indices=torch.arange(count),
        valid=torch.ones(count, dtype=torch.bool),
        mixing=torch.zeros(4, dtype=torch.float64),
    )


class Three:
    """A loader of three batches."""

    batches_per_epoch = 3

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        del epoch
        return iter([batch(2)] * (3 - first_batch))

    def close(self) -> None:
        """Nothing."""


def test_an_alarm_rings_when_steps_and_time_have_passed() -> None:
    state, alarm = cast(Any, SimpleNamespace(step=7)), Alarm()
    assert alarm.is_set
    alarm.arm(state, steps=2, seconds=0)
    assert not alarm.is_set
    state.step = 9
    assert alarm.is_set
    alarm.arm(state, steps=0, seconds=60)
    assert not alarm.is_set


def test_a_clocked_loader_counts_what_it_gives() -> None:
    loader = Clocked(Three())
    assert len(list(loader.epoch(0, 1))) == 2
    assert (loader.batches, loader.images) == (2, 4)
    assert loader.waited_s >= 0


def test_the_quickest_stretch_counts() -> None:
    slow = Stretch(Reading(0, 0, None), Reading(4, 6, None), 10)
    quick = Stretch(Reading(10, 6, None), Reading(11, 8, None), 5)
    found = pace(Runtime(World(), "fp32", 1), [slow, quick])
    assert (found.seconds, found.cpu_s) == (0.2, 0.4)


def test_a_batch_can_be_had_several_times_over() -> None:
    found = moved(batch(2), torch.device("cpu"), 3)
    assert found.images.shape == (6, 4, 4, 3)
    assert found.targets.tolist() == [0, 1, 0, 1, 0, 1]

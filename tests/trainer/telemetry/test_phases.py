import time

import pytest
import torch

from trainer.telemetry.phases import KEPT, PHASES, Phases

CPU = torch.device("cpu")


class Clock:
    """Time that passes where a test sleeps, and only there."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture(autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of all tests but a GPU's."""
    if request.node.get_closest_marker("gpu"):
        return
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now_s)


def step(phases: Phases, **seconds: float) -> None:
    for phase, duration in seconds.items():
        phases.begin(phase)  # pyright: ignore[reportArgumentType]
        time.sleep(duration)
    phases.begin("other")


def test_shares_are_those_of_the_phases_and_make_one() -> None:
    phases = Phases(CPU)
    phases.restart()
    for _ in range(3):
        step(phases, data_wait=0.02, forward=0.01, backward=0.02, optimizer=0.01)
    lap = phases.cut()()
    assert sum(lap.shares.values()) == pytest.approx(1)
    assert tuple(lap.shares) == PHASES
    assert lap.shares["data_wait"] == pytest.approx(1 / 3)
    assert lap.shares["data_wait"] > lap.shares["forward"]
    assert lap.shares["checkpoint"] == 0
    assert lap.host_to_device is None


def test_each_step_is_timed_from_the_end_of_the_one_before_wherever_a_lap_ends() -> None:
    phases = Phases(CPU)
    phases.restart()
    step(phases, forward=0.03)
    step(phases, forward=0.01)
    assert phases.cut()().step_ms == pytest.approx((30, 10))
    time.sleep(0.02)  # a log, in the time of the step that follows
    step(phases, forward=0.01)
    assert phases.cut()().step_ms == pytest.approx((30,))


def test_what_was_before_a_restart_belongs_to_no_lap() -> None:
    phases = Phases(CPU)
    phases.restart()
    step(phases, forward=0.2)
    phases.restart()
    step(phases, backward=0.01)
    lap = phases.cut()()
    assert lap.shares["forward"] == 0
    assert lap.step_ms == pytest.approx((10,))


def test_a_lap_of_nothing_has_nothing() -> None:
    phases = Phases(CPU)
    assert (phases.cut()().shares, phases.cut()().step_ms, phases.cut()().percentile(50)) == ({}, (), None)


def test_percentiles() -> None:
    phases = Phases(CPU)
    phases.restart()
    for duration in (0.001, 0.001, 0.05):
        step(phases, forward=duration)
    lap = phases.cut()()
    assert lap.percentile(100) == max(lap.step_ms)
    assert lap.percentile(50) == sorted(lap.step_ms)[1]


def test_memory_is_bounded_where_nobody_looks() -> None:
    phases = Phases(CPU)
    phases.restart()
    for _ in range(KEPT):
        step(phases, forward=0.01)
    lap = phases.cut()()
    assert len(lap.step_ms) < KEPT
    assert lap.seconds == pytest.approx(0.01 * KEPT)  # of the whole lap, not of what is kept alone
    assert lap.shares["forward"] == pytest.approx(1)


@pytest.mark.gpu
def test_a_gpu_that_waits_for_its_host_waits_for_data() -> None:
    phases, device = Phases(torch.device("cuda")), torch.device("cuda")
    work = torch.rand(4096, 4096, device=device)
    (work @ work).sum().item()
    phases.restart()
    for _ in range(4):
        phases.begin("data_wait")
        time.sleep(0.1)
        with phases.copying():
            work.copy_(work.cpu().pin_memory(), non_blocking=True)
        phases.begin("forward")
        for _ in range(3):
            work = torch.nn.functional.normalize(work @ work)
        phases.begin("other")
    work.sum().item()
    lap = phases.cut()()
    assert lap.shares["data_wait"] > 0.6
    assert 0 < lap.shares["forward"] < 0.4
    assert lap.host_to_device is not None and lap.host_to_device > 0
    assert len(lap.step_ms) == 4
    assert all(duration >= 100 for duration in lap.step_ms)

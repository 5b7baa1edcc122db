from typing import Any

import pytest

from tests.trainer.evidence.runs import EVALUATION, START, train_records
from trainer.evidence.cost import Cost, figure
from trainer.evidence.cost import cost as cost_of
from trainer.evidence.history import history


def cost(records: list[dict[str, Any]]) -> Cost:
    return cost_of(history(records))


def test_hours_are_those_of_each_start_to_its_last_record() -> None:
    """Two stretches of six minutes and of three, on 8 and on 2 devices; the wait between them is not counted."""
    first = [START, *train_records(6)]
    again = {**START, "step": 6, "time": 5000.0, "world_size": 2}
    second = [again, {**EVALUATION, "time": 5000.0 + 180.0}]
    found = cost([*first, *second])
    assert found.hours == pytest.approx(9 / 60)
    assert found.device_hours == pytest.approx((6 * 8 + 3 * 2) / 60)
    assert found.device_hour == "GPU-hours"


def test_a_start_without_records_and_a_run_without_any_took_no_time() -> None:
    assert cost([]).hours == 0
    assert cost([START]).hours == 0
    assert cost([START, {**START, "time": 900.0}]).hours == 0


def test_energy_is_power_times_the_time_since_the_record_before_of_all_devices() -> None:
    """Six minutes of 500 W on 8 devices: 0.4 kWh."""
    found = cost([START, *train_records(6, power_w=500.0)])
    assert found.energy_kwh == pytest.approx(0.4)
    assert cost([START, *train_records(6)]).energy_kwh is None


def test_a_cpu_gives_process_hours() -> None:
    assert cost([{**START, "device": "CPU (x86_64)"}]).device_hour == "CPU process-hours"


def test_rates_are_medians_and_memory_is_the_most() -> None:
    points = train_records(3)
    points[1] |= {"images_per_s": 900.0, "data_wait": 1.0, "memory_gb": 7.5, "device_memory_gb": 9.0}
    found = cost([START, *points])
    assert (found.images_per_s, found.data_wait, found.memory_gb) == (100.0, 0.125, 7.5)
    assert found.device_memory_gb == 9.0
    del points[0]["memory_gb"], points[1]["memory_gb"], points[2]["memory_gb"]  # as older runs are
    assert cost([START, *points]).memory_gb is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.000"), (0.0123, "0.012"), (1.234, "1.23"), (45.678, "45.7"), (1234.5, "1,234")],
)
def test_figures_have_three_digits(value: float | None, text: str) -> None:
    assert figure(value) == text

import os
from pathlib import Path

import pytest

from trainer.doctor.machine import Reading, disk_name, idle_s, left_cores, quota

STAT = "cpu  9 9 9 9 9\ncpu0 5 0 5 100 20 0 0\ncpu1 5 0 5 300 0 0 0\ncpu12 5 0 5 700 0 0 0\nintr 1 2\n"


@pytest.mark.parametrize(("cpus", "ticks"), [({0}, 120), ({0, 1}, 420), ({12}, 700)])
def test_idle_time_is_that_of_the_cpus_that_are_ours(cpus: set[int], ticks: int) -> None:
    assert idle_s(STAT, frozenset(cpus)) == ticks / os.sysconf("SC_CLK_TCK")


def test_a_system_that_does_not_say_is_taken_as_idle() -> None:
    assert idle_s("", frozenset({0})) is None
    assert left_cores(Reading(0, 0, None), Reading(10, 5, None), 4, 1) == 4


@pytest.mark.parametrize(
    ("used", "idle", "processes", "cores"),
    [(20, 0, 1, 2), (10, 10, 1, 2), (10, 0, 1, 1), (10, 10, 2, 1.5), (0, 0, 1, 0.25), (20, 90, 1, 2)],
)
def test_what_others_left_is_what_we_used_and_what_stood_idle(
    used: float, idle: float, processes: int, cores: float
) -> None:
    assert left_cores(Reading(5, 1, 3), Reading(15, 1 + used, 3 + idle), 2, processes) == cores


def test_a_process_without_a_quota_has_its_cores(tmp_path: Path) -> None:
    assert quota(4, 2, tmp_path / "none") == 4


def test_a_disk_has_its_folder_in_its_name(tmp_path: Path) -> None:
    assert disk_name(tmp_path).startswith(str(tmp_path))

from pathlib import Path

import pytest

from trainer.doctor import processor
from trainer.doctor.finding import Finding

GB = 1 << 30


def told(findings: object) -> list[tuple[str, str]]:
    """Name and state of each, once it is clear that it says what to do."""
    found: list[Finding] = list(findings)  # type: ignore[call-overload]
    assert all(finding.says and "\n" not in finding.says for finding in found)
    assert all(bool(finding.mend) == (finding.state != "good") for finding in found)
    return [(finding.name, finding.state) for finding in found]


@pytest.mark.parametrize(
    ("allowed", "there", "quota", "state"),
    [(8, 8, None, "good"), (4, 8, None, "note"), (8, 8, 2.0, "bad"), (8, 8, 8.0, "good"), (8, 64, 8.0, "note")],
)
def test_fewer_cpus_than_the_machine_has_are_told(allowed: int, there: int, quota: float | None, state: str) -> None:
    assert told(processor.cpu_findings(allowed, there, quota)) == [("CPUs", state)]


def test_a_quota_names_the_threads_that_fit() -> None:
    (finding,) = processor.cpu_findings(8, 8, 2.5)
    assert "pays for 2.5" in finding.says
    assert finding.mend.endswith("--threads 2")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        ({"OMP_NUM_THREADS": "1"}, []),
        ({"OMP_NUM_THREADS": "64"}, [("threads", "note")]),
        ({"OMP_NUM_THREADS": "4,2"}, []),
        ({"OMP_PROC_BIND": "close"}, [("threads", "note")]),
        ({"OMP_PROC_BIND": "false", "OMP_PLACES": "cores"}, []),
        ({"KMP_AFFINITY": "granularity=fine,compact,1,0"}, [("threads", "note")]),
    ],
)
def test_variables_that_bind_threads_are_told(environment: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert told(processor.thread_findings(environment, 8)) == expected


@pytest.mark.parametrize(
    ("governor", "driver", "expected"),
    [
        ("powersave", "acpi-cpufreq", [("CPU clock", "bad")]),
        ("powersave", "intel_pstate", []),
        ("schedutil", "acpi-cpufreq", []),
        (None, None, []),
    ],
)
def test_cpus_kept_slow_are_told(
    tmp_path: Path, governor: str | None, driver: str | None, expected: list[tuple[str, str]]
) -> None:
    if governor and driver:
        (tmp_path / "cpu0/cpufreq").mkdir(parents=True)
        (tmp_path / "cpu0/cpufreq/scaling_governor").write_text(f"{governor}\n")
        (tmp_path / "cpu0/cpufreq/scaling_driver").write_text(f"{driver}\n")
    assert told(processor.governor_findings(tmp_path)) == expected


@pytest.mark.parametrize(("count", "expected"), [("0\n", []), ("12\n", [("CPU heat", "note")]), (None, [])])
def test_cpus_slowed_by_heat_are_told(tmp_path: Path, count: str | None, expected: list[tuple[str, str]]) -> None:
    if count:
        (tmp_path / "cpu3/thermal_throttle").mkdir(parents=True)
        (tmp_path / "cpu3/thermal_throttle/core_throttle_count").write_text(count)
    assert told(processor.heat_findings(tmp_path)) == expected


MEMINFO = """MemTotal:       24684084 kB
MemAvailable:   20783836 kB
SwapTotal:       8388604 kB
SwapFree:        6291452 kB
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [(MEMINFO, (20_783_836 * 1024, 2_097_152 * 1024)), ("", (-1024, 0)), ("MemTotal: lots kB\n", (-1024, 0))],
)
def test_memory_is_read_from_meminfo(text: str, expected: tuple[int, int]) -> None:
    assert processor.available(text) == expected


@pytest.mark.parametrize(
    ("free", "swapped", "expected"),
    [
        (20 * GB, 0, [("memory", "good")]),
        (GB, 0, [("memory", "bad")]),
        (20 * GB, 2 * GB, [("memory", "good"), ("swap", "note")]),
        (-1024, 0, []),
    ],
)
def test_little_memory_and_swapping_are_told(free: int, swapped: int, expected: list[tuple[str, str]]) -> None:
    assert told(processor.memory_findings(free, swapped)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("always [madvise] never", []), ("always madvise [never]", [("large pages", "note")]), ("", [])],
)
def test_a_kernel_without_large_pages_is_told(text: str, expected: list[tuple[str, str]]) -> None:
    assert told(processor.page_findings(text)) == expected


@pytest.mark.parametrize(
    ("total", "expected"), [(None, []), (64 << 20, ["bad"]), (512 << 20, ["note"]), (8 << 30, ["good"])]
)
def test_docker_s_shared_memory_is_told(total: int | None, expected: list[str]) -> None:
    assert [state for _, state in told(processor.shared_memory_findings(total))] == expected


@pytest.mark.parametrize(("limit", "state"), [(1024, "note"), (4096, "good"), (-1, "good")])
def test_few_open_files_are_told(limit: int, state: str) -> None:
    assert told(processor.file_findings(limit)) == [("open files", state)]

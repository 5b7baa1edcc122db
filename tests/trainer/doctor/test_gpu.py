from pathlib import Path

import pytest

from trainer.doctor import gpu
from trainer.doctor.gpu import Gpu

# as drivers print them
H200 = """0, NVIDIA H200, 570.86.15, 143771, 4, 0x0000000000000001, 9.0
1, NVIDIA H200, 570.86.15, 143771, 4, 0x0000000000000000, 9.0
"""
MIXED = """0, NVIDIA A100-SXM4-40GB, 535.129.03, 40960, 0, 0x0000000000000000, 8.0
1, Tesla V100-SXM2-16GB, 535.129.03, 16384, 0, 0x0000000000000000, 7.0
"""
OLD = "0, Tesla K80, 470.82.01, 11441, 3, [Not Supported]\n"
MIG = "0, NVIDIA A100-SXM4-80GB, 535.129.03, 81920, [N/A], 0x0000000000000000, 8.0\n"
HEAD = """Tue Mar 12 10:14:02 2024
+---------------------------------------------------------------------------------------+
| NVIDIA-SMI 535.129.03             Driver Version: 535.129.03   CUDA Version: 12.2     |
|-----------------------------------------+----------------------+----------------------+
"""


def h200(index: int = 0, **changes: object) -> Gpu:
    values = {"name": "NVIDIA H200", "driver": "570.86.15", "total_mib": 143_771, "used_mib": 4, "slowed": 0}
    return Gpu(**{"index": index, "capability": 9.0, **values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (H200, [h200(0, slowed=1), h200(1)]),
        (
            OLD,
            [Gpu(index=0, name="Tesla K80", driver="470.82.01", total_mib=11_441, used_mib=3, slowed=0, capability=0)],
        ),
        ("No devices were found\n", []),
        ("", []),
        ("0, NVIDIA H200\n", []),
    ],
)
def test_the_lines_of_nvidia_smi_become_gpus(text: str, expected: list[Gpu]) -> None:
    assert gpu.parse_gpus(text) == expected


def test_memory_that_is_not_shown_counts_as_none() -> None:
    (found,) = gpu.parse_gpus(MIG)
    assert (found.total_mib, found.used_mib) == (81_920, 0)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (HEAD, "12.2"),
        ("| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06      CUDA Version: 13.0     |", "13.0"),
        ("CUDA Version                              : 12.4", "12.4"),
        ("CUDA UMD Version : 13.1", "13.1"),
        ("| NVIDIA-SMI 390.157                Driver Version: 390.157                   |", ""),
        ("CUDA Version: N/A", ""),
    ],
)
def test_the_driver_s_cuda_is_read_from_the_head(text: str, version: str) -> None:
    assert gpu.driver_cuda(text) == version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("31415, python, 22000\n", [(31415, "python", 22_000)]),
        (
            "7, /usr/bin/python3.11, [N/A]\n8, [Not Found], 12\n",
            [(7, "/usr/bin/python3.11", 0), (8, "[Not Found]", 12)],
        ),
        ("No running processes found\n", []),
        ("", []),
    ],
)
def test_who_computes_is_read(text: str, expected: list[tuple[int, str, int]]) -> None:
    assert gpu.compute_apps(text) == expected


@pytest.mark.parametrize(
    ("text", "state", "says"),
    [
        (H200, "good", "2 x NVIDIA H200, 140 GiB; driver 570.86.15"),
        (MIXED, "bad", "not all alike: 1 x NVIDIA A100-SXM4-40GB, 40 GiB; 1 x Tesla V100-SXM2-16GB, 16 GiB"),
    ],
)
def test_gpus_of_several_kinds_are_told(text: str, state: str, says: str) -> None:
    (finding,) = gpu.model_findings(gpu.parse_gpus(text))
    assert (finding.state, finding.says) == (state, says)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x00, [("good", "not held down")]),
        (0x01, [("good", "not held down")]),  # idle
        (0x04, [("note", "its power limit")]),
        (0x02, [("note", "clocks that somebody set")]),
        (0x08, [("bad", "the hardware's own brake")]),
        (0x40, [("bad", "heat, by the hardware")]),
        (0x80, [("bad", "the power supply's brake")]),
        (0x24, [("bad", "held down by heat"), ("note", "its power limit")]),
    ],
)
def test_what_holds_a_clock_down_is_told(bits: int, expected: list[tuple[str, str]]) -> None:
    found = list(gpu.slowed_findings([h200(slowed=bits)]))
    assert [finding.state for finding in found] == [state for state, _ in expected]
    for finding, (state, says) in zip(found, expected, strict=True):
        assert says in finding.says
        assert bool(finding.mend) == (state != "good")


@pytest.mark.parametrize(
    ("gpus", "apps", "state", "says"),
    [
        ([h200()], [], "good", "nobody else"),
        ([h200()], [(99_999_999, "python", 500)], "bad", "in use by python (process 99999999, 500 MiB)"),
        ([h200(1, used_mib=2_000)], [], "bad", "memory in use: GPU 1: 2,000 MiB"),
    ],
)
def test_a_gpu_in_other_use_is_told(gpus: list[Gpu], apps: list[tuple[int, str, int]], state: str, says: str) -> None:
    (finding,) = gpu.use_findings(gpus, apps)
    assert finding.state == state
    assert says in finding.says


def put_smi(folder: Path, script: str) -> None:
    smi = folder / "nvidia-smi"
    smi.write_text(f"#!/bin/bash\n{script}\n")
    smi.chmod(0o755)


def test_a_driver_of_before_535_is_asked_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_smi(
        tmp_path,
        """case "$1" in
            *clocks_event*) echo 'Field "clocks_event_reasons.active" is not a valid field to query.'; exit 2 ;;
            --query-gpu*) echo '0, Tesla K80, 470.82.01, 11441, 3, 0x0000000000000000' ;;
            --query-compute*) ;;
            *) echo '| NVIDIA-SMI 470.82.01    Driver Version: 470.82.01    CUDA Version: 11.4     |' ;;
        esac""",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = {finding.name: finding for finding in gpu.findings(gpu.look())}
    assert found["GPU"].says == "1 x Tesla K80, 11 GiB; driver 470.82.01"
    assert found["GPU use"].state == "good"
    assert "CUDA" in found


@pytest.mark.parametrize(
    "script",
    ["echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9", "kill -9 $$"],
)
def test_a_driver_that_does_not_answer_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    put_smi(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (finding,) = gpu.findings(gpu.look())
    assert (finding.state, "trains on CPUs" in finding.says) == ("note", True)


def test_a_driver_without_gpus_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_smi(tmp_path, "echo 'No devices were found'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (finding,) = gpu.findings(gpu.look())
    assert "shows no GPU" in finding.says
    assert "--gpus all" in finding.mend

from pathlib import Path

import pytest

from trainer.doctor import machine

# as drivers print them
H200 = """0, NVIDIA H200, 570.86.15, 143771, 4, 9.0, 0x0000000000000001
1, NVIDIA H200, 570.86.15, 143771, 4, 9.0, 0x0000000000000000
"""
MIXED = """0, NVIDIA A100-SXM4-40GB, 535.129.03, 40960, 0, 8.0, 0x0000000000000000
1, Tesla V100-SXM2-16GB, 535.129.03, 16384, 0, 7.0, 0x0000000000000000
"""
BUSY = "0, NVIDIA H200, 570.86.15, 143771, 2000, 9.0, 0x0000000000000000\n"
MIG = "0, NVIDIA A100-SXM4-80GB, 535.129.03, 81920, [N/A], [N/A], [Not Supported]\n"
HEAD = "| NVIDIA-SMI 535.129.03             Driver Version: 535.129.03   CUDA Version: 12.2     |"


def put_smi(folder: Path, script: str) -> None:
    smi = folder / "nvidia-smi"
    smi.write_text(f"#!/bin/bash\n{script}\n")
    smi.chmod(0o755)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for an nvidia-smi, that comes first in PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def put_gpus(folder: Path, rows: str, head: str = HEAD) -> None:
    (folder / "rows").write_text(rows)
    put_smi(folder, f'case "$1" in --query-gpu*) cat {folder}/rows ;; *) echo "{head}" ;; esac')


@pytest.mark.parametrize(
    ("rows", "states", "says"),
    [
        (H200, ["good"], "2 x NVIDIA H200, 140 GiB; driver 570.86.15"),
        (MIXED, ["bad"], "1 x NVIDIA A100-SXM4-40GB, 40 GiB; 1 x Tesla V100-SXM2-16GB, 16 GiB; driver 535.129.03"),
        (BUSY, ["good", "bad"], "1 x NVIDIA H200, 140 GiB; driver 570.86.15"),
        (MIG, ["good"], "1 x NVIDIA A100-SXM4-80GB, 80 GiB; driver 535.129.03"),
    ],
)
def test_gpus_that_differ_or_are_in_use_are_told(smi: Path, rows: str, states: list[str], says: str) -> None:
    put_gpus(smi, rows)
    found = [finding for finding in machine.gpu_findings(machine.look_at_gpus(), "12.6") if finding.name != "CUDA"]
    assert [finding.state for finding in found] == states
    assert found[0].message == says
    assert all(bool(finding.fix) == (finding.state != "good") for finding in found)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD, "up to 12.2"),
        ("| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06      CUDA Version: 13.0     |", "up to 13.0"),
        ("CUDA Version                              : 12.4", "up to 12.4"),
        ("CUDA UMD Version : 13.1", "up to 13.1"),
        ("CUDA Version: N/A", "up to an unknown version"),
    ],
)
def test_the_drivers_cuda_is_read_from_the_head(smi: Path, head: str, says: str) -> None:
    put_gpus(smi, H200, head)
    (found,) = [finding for finding in machine.gpu_findings(machine.look_at_gpus(), "12.6") if finding.name == "CUDA"]
    assert says in found.message


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        ("0x00", []),
        ("0x01", []),  # idle
        ("0x04", []),  # its power limit, usual under full load
        ("[Not Supported]", []),
        ("0x02", ["clocks that somebody set"]),
        ("0x08", ["heat"]),
        ("0x40", ["heat"]),
        ("0x80", ["its power supply"]),
        ("0x22", ["heat", "clocks that somebody set"]),
    ],
)
def test_what_reduces_a_clock_is_told(smi: Path, bits: str, reasons: list[str]) -> None:
    put_gpus(smi, f"3, NVIDIA H200, 570.86.15, 143771, 4, 9.0, {bits}\n")
    found = list(machine.clock_findings(machine.look_at_gpus() or []))
    assert [finding.message for finding in found] == [f"that of GPU 3 is reduced by {reason}" for reason in reasons]
    assert all(finding.state == "bad" and finding.fix for finding in found)


def test_a_driver_of_before_535_is_asked_in_its_own_words(smi: Path) -> None:
    row = "0, Tesla K80, 470.82.01, 11441, 3, 3.7, 0x0000000000000000"
    put_smi(smi, f'case "$1" in *clocks_event*) exit 2 ;; --query-gpu*) echo "{row}" ;; esac')
    assert (
        next(machine.gpu_findings(machine.look_at_gpus(), "12.6")).message == "1 x Tesla K80, 11 GiB; driver 470.82.01"
    )


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
            "is not there",
        ),
        ("kill -9 $$", "is not there"),
        ("echo 'No devices were found'", "shows no GPU"),
    ],
)
def test_a_driver_that_shows_no_gpu_is_a_note(smi: Path, script: str, says: str) -> None:
    put_smi(smi, script)
    (finding,) = machine.gpu_findings(machine.look_at_gpus(), "12.6")
    assert (finding.state, says in finding.message) == ("note", True)
    assert "--gpus all" in finding.fix


@pytest.mark.parametrize(
    ("cuda", "driver", "capability", "state", "fix"),
    [
        ("13.2", "13.0", 9.0, "good", ""),
        ("12.6", "12.2", 8.0, "good", ""),
        ("12.6", "13.0", 7.0, "good", ""),
        ("13.2", "12.8", 9.0, "bad", "make train CUDA=12"),
        ("12.6", "11.8", 8.0, "bad", "update the driver to 525"),
        ("13.2", "13.0", 7.0, "bad", "make train CUDA=12"),
        ("13.2", "13.0", 0.0, "good", ""),
        ("13.2", "", 9.0, "good", ""),
        (None, "13.0", 9.0, "bad", "pytorch.org/get-started"),
    ],
)
def test_torch_s_cuda_is_one_that_driver_and_gpus_know(
    cuda: str | None, driver: str, capability: float, state: str, fix: str
) -> None:
    finding = machine.cuda_finding(cuda, driver, capability)
    assert finding.state == state
    assert fix in finding.fix

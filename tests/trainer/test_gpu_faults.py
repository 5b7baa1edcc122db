"""The driver's program is a script that answers as nvidia-smi did on the machines named."""

import os
from pathlib import Path

import pytest

from trainer import devices, gpu_faults
from trainer.world import World

UNKNOWN = 'Field "clocks_event_reasons.hw_thermal_slowdown" is not a valid field to query.'
HOT = "slowed down as it is too hot"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program on PATH, to be written; the file `calls` holds what it was asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "nvidia-smi"
    program.touch(0o755)
    return program


def answer(program: Path, text: str) -> None:
    program.write_text(f'#!/bin/sh\necho "$*" >>{program.parent}/calls\n{text}\n')


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param("0, Not Active, Not Active", "", id="H100, sound"),
        pytest.param("[N/A], Not Active, Not Active", "", id="RTX 4090, without ECC"),
        pytest.param("2, Not Active, Not Active", "2 uncorrected ECC errors since its driver was loaded", id="ECC"),
        pytest.param("[N/A], Active, Not Active", HOT, id="hot"),
        pytest.param("0, Not Active, Active", "slowed down by the power supply", id="power brake"),
        pytest.param("1, Active, N/A", f"1 uncorrected ECC errors since its driver was loaded, {HOT}", id="both"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_errors_and_slowdowns_are_read(nvidia_smi: Path, values: str, words: str) -> None:
    answer(nvidia_smi, f"echo '{values}'")
    assert gpu_faults.faults("0000:3b:00.0") == words
    (asked,) = (nvidia_smi.parent / "calls").read_text().splitlines()
    assert asked.startswith("--id=0000:3b:00.0 --query-gpu=ecc.errors.uncorrected.volatile.total,clocks_event_reasons.")


def test_a_driver_before_535_has_other_names(nvidia_smi: Path) -> None:
    answer(nvidia_smi, f"case $2 in *event*) echo '{UNKNOWN}'; exit 2;; esac\necho '0, Active, Not Active'")
    assert gpu_faults.faults("0000:3b:00.0") == HOT


@pytest.mark.parametrize("text", ["echo 'No devices were found'; exit 6", "exec sleep 60", "printf '\\377\\n'"])
def test_a_program_that_cannot_tell_ends_no_run(nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(gpu_faults, "_ANSWER_S", 0.2)
    answer(nvidia_smi, text)
    assert gpu_faults.faults("0000:3b:00.0") == ""


def test_all_processes_know_which_nodes_have_faulty_gpus(nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everyone: list[devices.Place] = []
    for rank, (node, values) in enumerate((("n1", "0, Not Active"), ("n2", "3, Active"), ("n2", "0, Active"))):
        monkeypatch.setenv("SLURMD_NODENAME", node)
        answer(nvidia_smi, f"echo '{values}, Not Active'")
        place = devices.place(World(rank, 3), (f"0000:0{rank}:00.0", "uuid"))
        everyone.append(devices.Place.from_json(place.to_json()))
    ecc = "3 uncorrected ECC errors since its driver was loaded"
    first, second = f"GPU 0000:01:00.0 uuid of rank 1: {ecc}, {HOT}", f"GPU 0000:02:00.0 uuid of rank 2: {HOT}"
    assert devices.faulty(everyone) == {"n2": f"{first}; {second}"}

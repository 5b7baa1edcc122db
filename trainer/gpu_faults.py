"""What is wrong with a GPU, as the driver's program nvidia-smi says. Standard library only."""

import subprocess
from collections.abc import Sequence

_ANSWER_S = 30.0  # where no process keeps the driver loaded, nvidia-smi initialises every GPU of the machine

_ECC = "ecc.errors.uncorrected.volatile.total"
_SLOWDOWNS = {
    "hw_thermal_slowdown": "slowed down as it is too hot",
    "hw_power_brake_slowdown": "slowed down by the power supply",
}
_REASONS = ("clocks_event_reasons", "clocks_throttle_reasons")  # the latter before driver 535


def faults(address: str) -> str:
    """Uncorrected ECC errors and slowdowns of the GPU at a PCI address, in words.

    Empty where there are none, and where nvidia-smi is missing or cannot tell.
    """
    rows = query((_ECC, *(f"REASONS.{name}" for name in _SLOWDOWNS)), f"--id={address}")
    return _in_words(rows[0]) if rows else ""


def query(fields: Sequence[str], *options: str) -> list[list[str]] | None:
    """What nvidia-smi says of each GPU; None where it is missing, fails or hangs.

    Args:
        fields: Their names; REASONS in one stands for the driver's word for what may slow down a GPU.
        options: That choose GPUs.
    """
    for reasons in _REASONS:
        asked = ",".join(fields).replace("REASONS", reasons)
        command = ("nvidia-smi", *options, f"--query-gpu={asked}", "--format=csv,noheader,nounits")
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace", timeout=_ANSWER_S
            )
        except (OSError, subprocess.SubprocessError):
            return None
        if done.returncode == 0:
            return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return None


def _in_words(values: list[str]) -> str:
    errors, *slowdowns = values
    count = int(errors) if errors.isdecimal() else 0  # [N/A]: it has no ECC, or that is off
    ecc = [f"{count} uncorrected ECC errors since its driver was loaded"] if count else []
    slow = [words for words, value in zip(_SLOWDOWNS.values(), slowdowns, strict=False) if value == "Active"]
    return ", ".join([*ecc, *slow])

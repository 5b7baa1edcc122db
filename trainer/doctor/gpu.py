"""What nvidia-smi says of the GPUs: their kind, what slows them down, whether others use them."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from trainer.doctor import versions
from trainer.doctor.machine import Finding

# NVML API reference, nvmlClocksEventReasons, in groups
_SLOWED = {
    0x68: ("heat", "check its cooling; nvidia-smi -q -d TEMPERATURE shows the limits"),
    0x80: ("its power supply", "check the machine's power supply and its cables"),
    0x02: ("clocks that somebody set", "sudo nvidia-smi -rac -rgc resets them"),
}
_FIELDS = ("index", "name", "driver_version", "memory.total", "memory.used", "compute_cap", "slowed")
_BUSY_MIB = 1024  # the driver itself takes some hundred
_TIMEOUT_S = 20  # nvidia-smi hangs where a GPU has fallen off its bus

Gpu = Mapping[str, str]


def look() -> list[Gpu] | None:
    """`_FIELDS` of the GPUs that nvidia-smi shows; None without it, or where it does not answer."""
    for reasons in ("clocks_event_reasons", "clocks_throttle_reasons"):  # the latter in drivers before 535
        text = _smi(f"--query-gpu={','.join(_FIELDS[:-1])},{reasons}.active", "--format=csv,noheader,nounits")
        if text is not None:
            rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
            return [dict(zip(_FIELDS, row, strict=True)) for row in rows if len(row) == len(_FIELDS)]
    return None


def findings(gpus: Sequence[Gpu] | None) -> Iterator[Finding]:
    """The GPUs that `look` gave, before this program uses them, and torch's CUDA against the driver's."""
    if not gpus:
        fix = "nvidia-smi -L has to show a GPU; a container needs --gpus all, a Slurm job --gpus-per-node"
        message = "NVIDIA's driver " + ("was not found" if gpus is None else "shows no GPU")
        yield Finding("GPU", "note", f"{message}: trains on CPUs", fix)
        return
    kinds = Counter(f"{gpu['name']}, {_number(gpu, 'memory.total') / 1024:.0f} GiB" for gpu in gpus)
    counted = "; ".join(f"{count} x {kind}" for kind, count in kinds.items())
    message = f"{counted}; driver {gpus[0]['driver_version']}"
    fix = "each step waits for the slowest: choose those that are alike by CUDA_VISIBLE_DEVICES"
    yield Finding("GPU", "bad", message, fix) if len(kinds) > 1 else Finding("GPU", "good", message)
    driver = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+\.\d+)", _smi() or "")
    least = min(_number(gpu, "compute_cap") for gpu in gpus)
    yield versions.cuda_finding(versions.torch_cuda(), driver[1] if driver else "", least)
    # a container sees no other programs, but their memory
    if busy := [f"GPU {gpu['index']}" for gpu in gpus if _number(gpu, "memory.used") > _BUSY_MIB]:
        fix = "nvidia-smi shows them: wait, stop them, or choose other GPUs by CUDA_VISIBLE_DEVICES"
        yield Finding("GPU use", "bad", f"other programs use memory of {', '.join(busy)}", fix)


def clock_findings(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """What reduces their clocks; under load or soon after it."""
    for gpu in gpus:
        bits = int(gpu["slowed"], 16) if gpu["slowed"].startswith("0x") else 0
        for mask, (reason, fix) in _SLOWED.items():
            if bits & mask:
                yield Finding("GPU clock", "bad", f"that of GPU {gpu['index']} is reduced by {reason}", fix)


def _number(gpu: Gpu, field: str) -> float:
    """A field that the GPU does not have reads [N/A] or [Not Supported]."""
    return float(gpu[field]) if gpu[field][:1].isdigit() else 0.0


def _smi(*arguments: str) -> str | None:
    """What nvidia-smi prints; None where it is missing, fails or hangs."""
    command = ["nvidia-smi", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return None

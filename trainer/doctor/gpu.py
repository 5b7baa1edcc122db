"""What NVIDIA's driver says of the GPUs. Standard library only; the words come from nvidia-smi."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer.doctor import versions
from trainer.doctor.finding import Finding, bad, good, note

# NVML API reference, nvmlClocksEventReasons: what makes a GPU slower than it could be, and what to do
_SLOWED = {
    0x08: ("the hardware's own brake, for heat or power", "look at its cooling and its power cables"),
    0x20: ("heat", "look at its cooling; nvidia-smi -q -d TEMPERATURE shows the limits"),
    0x40: ("heat, by the hardware", "look at its cooling; nvidia-smi -q -d TEMPERATURE shows the limits"),
    0x80: ("the power supply's brake", "look at the machine's power supply"),
    0x04: ("its power limit", "nvidia-smi -q -d POWER shows the limit; sudo nvidia-smi -pl WATTS sets it"),
    0x02: ("clocks that somebody set", "sudo nvidia-smi -rac -rgc sets them free"),
}
_HARMLESS = 0x04 | 0x02  # usual under full load, or meant
_BUSY_MIB = 1024  # the driver itself takes some hundred

_TIMEOUT_S = 20  # a GPU that fell off its bus lets nvidia-smi hang


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU, at one moment."""

    index: int
    """Its number in nvidia-smi."""
    name: str
    """As NVIDIA sells it."""
    driver: str
    """Version of the driver."""
    total_mib: int
    """Memory, MiB."""
    used_mib: int
    """Memory in use, by anybody, MiB."""
    slowed: int
    """NVML's bits of why its clock is lower than it could be."""
    capability: float
    """CUDA compute capability, such as 8.0; 0 where an old driver does not say."""


def findings(gpus: Sequence[Gpu] | None) -> list[Finding]:
    """The driver, the GPUs that `look` gave and their state; a note where there are none."""
    if gpus is None:
        mend = "where there is one, install NVIDIA's driver: nvidia-smi has to answer"
        return [note("GPU", "no GPU of NVIDIA's that its driver knows: trains on CPUs", mend)]
    if not gpus:
        mend = "nvidia-smi -L; in a container, start it with --gpus all; under Slurm, ask for --gpus-per-node"
        return [note("GPU", "NVIDIA's driver is there and shows no GPU: trains on CPUs", mend)]
    cuda = driver_cuda(_smi() or "")
    apps = _smi("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader,nounits") or ""
    return [
        *model_findings(gpus),
        *versions.cuda_findings(versions.torch_cuda(), cuda, min(gpu.capability for gpu in gpus)),
        *versions.nccl_findings(),
        *slowed_findings(gpus),
        *use_findings(gpus, compute_apps(apps)),
    ]


def look() -> list[Gpu] | None:
    """The GPUs that nvidia-smi shows; None without it, or where it does not answer."""
    fields = "index,name,driver_version,memory.total,memory.used"
    for more in ("clocks_event_reasons.active,compute_cap", "clocks_throttle_reasons.active"):  # drivers before 535
        text = _smi(f"--query-gpu={fields},{more}", "--format=csv,noheader,nounits")
        if text is not None:
            return parse_gpus(text)
    return None


def parse_gpus(text: str) -> list[Gpu]:
    """The lines of `nvidia-smi --query-gpu`, without head and units; what is no GPU's line is passed over."""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    return [_gpu(row) for row in rows if len(row) >= 6 and row[0].isdigit()]


def _gpu(row: Sequence[str]) -> Gpu:
    """A field that the GPU does not have reads [N/A] or [Not Supported]."""
    return Gpu(
        index=int(row[0]),
        name=row[1],
        driver=row[2],
        total_mib=int(row[3]) if row[3].isdigit() else 0,
        used_mib=int(row[4]) if row[4].isdigit() else 0,
        slowed=int(row[5], 16) if row[5].startswith("0x") else 0,
        capability=float(row[6]) if len(row) > 6 and re.fullmatch(r"\d+\.\d+", row[6]) else 0.0,
    )


def driver_cuda(text: str) -> str:
    """The newest CUDA version that the driver knows, from the head of `nvidia-smi`; empty where it does not say."""
    found = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+\.\d+)", text)
    return found[1] if found else ""


def compute_apps(text: str) -> list[tuple[int, str, int]]:
    """Process id, name and MiB of those that compute on a GPU; 0 MiB where the driver does not say."""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    return [
        (int(row[0]), row[1], int(row[2]) if row[2].isdigit() else 0)
        for row in rows
        if len(row) == 3 and row[0].isdigit()
    ]


def model_findings(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """What they are, and whether they are alike."""
    kinds = Counter(f"{gpu.name}, {gpu.total_mib / 1024:.0f} GiB" for gpu in gpus)
    counted = "; ".join(f"{count} x {kind}" for kind, count in kinds.items())
    if len(kinds) > 1:
        mend = "CUDA_VISIBLE_DEVICES chooses those that are alike: each step waits for the slowest"
        yield bad("GPU", f"not all alike: {counted}", mend)
    else:
        yield good("GPU", f"{counted}; driver {gpus[0].driver}")


def slowed_findings(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """GPUs whose clock is held down now."""
    found = [(gpu, *_SLOWED[bit], bit) for gpu in gpus for bit in _SLOWED if gpu.slowed & bit]
    for gpu, why, mend, bit in found:
        kind = note if bit & _HARMLESS else bad
        yield kind("GPU clock", f"GPU {gpu.index} is held down by {why}", mend)
    if not found:
        yield good("GPU clock", "not held down by heat or power")


def use_findings(gpus: Sequence[Gpu], apps: Sequence[tuple[int, str, int]]) -> Iterator[Finding]:
    """Whether somebody else computes on them; in a container the processes of others have no name, but their memory."""
    others = [f"{name} (process {pid}, {mib:,} MiB)" for pid, name, mib in apps if pid != os.getpid()]
    full = [f"GPU {gpu.index}: {gpu.used_mib:,} MiB" for gpu in gpus if gpu.used_mib > _BUSY_MIB]
    if others or full:
        says = "in use by " + ", ".join(others[:4]) if others else "memory in use: " + ", ".join(full[:8])
        yield bad("GPU use", says, "wait for them, stop them, or choose others by CUDA_VISIBLE_DEVICES")
    else:
        yield good("GPU use", "nobody else computes on them")


def _smi(*arguments: str) -> str | None:
    """What nvidia-smi prints; None where it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout

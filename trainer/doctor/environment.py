"""What this machine is, as far as it bounds a run or harms it. Loads no torch, and changes nothing that stays."""

from pathlib import Path

from trainer.doctor import clock, disk, gpu, processor, versions
from trainer.doctor.finding import Finding

__all__ = ["Finding", "findings"]


def findings(data: Path | None, output: Path | None, need_bytes: int | None) -> list[Finding]:
    """Every check of the machine, in the order in which a person would ask.

    Args:
        data: Folder of the images, if it is known.
        output: Run directory, which need not exist; a file is made there, or above it, for a moment.
        need_bytes: What the run will write, if it is known.
    """
    gpus = gpu.look()
    return [
        *versions.findings(on_gpu=bool(gpus)),
        *gpu.findings(gpus),
        *processor.findings(),
        *disk.findings(data, output, need_bytes),
        *clock.findings(output),
    ]

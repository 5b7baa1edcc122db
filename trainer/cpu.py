"""What a run on a CPU wants of its environment, before its libraries are loaded. Standard library only."""

import os
import sys

ALLOCATOR = {
    # glibc returns each freed activation to the kernel and faults it in again at the next step: a third of a CPU step
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296"
    ":glibc.malloc.trim_threshold=17179869184"
}
RESTING = {
    # OpenMP's threads spin at a barrier and so stall each other on a core that is shared: measured on 2 cores beside
    # another program, 3 images/s spinning, 80 asleep
    "OMP_WAIT_POLICY": "passive"
}


def has_gpu() -> bool:
    """Whether NVIDIA's driver is there, whose entry in /proc some containers hide; loads no torch."""
    return any(map(os.path.exists, ("/proc/driver/nvidia/version", "/dev/nvidiactl")))


def keep_memory() -> None:
    """On a machine without GPU, begin this process anew with the allocator's settings, which are read at its start.

    Does nothing where the settings are there, or the user's own.
    """
    if sys.platform == "linux" and not has_gpu() and not ALLOCATOR.keys() & os.environ.keys():
        os.environ.update(ALLOCATOR)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def rest_at_barriers() -> None:
    """Before torch loads OpenMP."""
    for name, value in RESTING.items():
        os.environ.setdefault(name, value)

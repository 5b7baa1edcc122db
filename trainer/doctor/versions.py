"""Whether the packages are those that Provenet asks for, and built for one another. Loads none of them."""

import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from trainer.doctor.finding import Finding, bad, good, note

DALI = {"nvidia-dali-cuda120": 12, "nvidia-dali-cuda130": 13}  # by distribution, the CUDA it is built for

_SHOWN = ("torch", "torchvision", "accelerate", *DALI)
_CUDA_12 = "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cu126 make train CUDA=12"


def findings(*, on_gpu: bool) -> Iterator[Finding]:
    """Python, the packages, and what torch and DALI are built for."""
    try:
        about = metadata.metadata("provenet")
        asked = [f"Python{about['Requires-Python']}", *(about.get_all("Requires-Dist") or [])]
    except metadata.PackageNotFoundError:  # started from its folder alone
        asked = []
    names = [Requirement(line).name for line in asked]
    found = {name: version for name in dict.fromkeys((*_SHOWN, *names)) if (version := installed(name))}
    yield from package_findings(asked, {"Python": platform.python_version(), **found})
    yield from dali_findings([name for name in DALI if name in found], torch_cuda(), on_gpu=on_gpu)


def package_findings(asked: Sequence[str], found: Mapping[str, str]) -> Iterator[Finding]:
    """The packages by name and version against what is asked of them, lines as in a distribution's metadata."""
    wrong: list[str] = []
    for line in asked:
        name, bounds = Requirement(line).name, str(Requirement(line).specifier)
        if name in found and not within(found[name], bounds):
            wrong.append(f"{name} {found[name]}, where {bounds} is asked for")
        elif name not in found and "extra ==" not in line:
            wrong.append(f"{name} is missing")
    if wrong:
        yield bad("packages", "; ".join(wrong), "pip install -e '.[cuda13]' (or cuda12) puts in place what was tried")
    else:
        yield good("packages", ", ".join(f"{name} {found[name]}" for name in ("Python", *_SHOWN) if name in found))


def dali_findings(builds: Sequence[str], cuda: str | None, *, on_gpu: bool) -> Iterator[Finding]:
    """Which of DALI's builds are there, against the CUDA version that torch is built for (None: for CPUs alone)."""
    if len(builds) > 1:
        mend = f"pip uninstall -y {' '.join(builds)}, then pip install -e '.[cuda13]' or '.[cuda12]'"
        yield bad("DALI", f"{' and '.join(builds)} are both installed, and own the same files", mend)
    elif not builds:
        mend = (
            "pip install -e '.[cuda13]' (or cuda12) adds NVIDIA DALI, which decodes JPEG files faster on most machines"
        )
        yield note("DALI", "not installed: images are loaded by threads alone", mend)
    elif cuda and DALI[builds[0]] != major(cuda):
        says = f"{builds[0]} beside a torch built for CUDA {cuda}"
        mend = f"pip install -e '.[cuda{major(cuda)}]' after pip uninstall -y {builds[0]}"
        yield bad("DALI", says, mend) if on_gpu else note("DALI", says, mend)
    else:
        yield good("DALI", f"built for CUDA {DALI[builds[0]]}, torch for {f'CUDA {cuda}' if cuda else 'CPUs alone'}")


def cuda_findings(cuda: str | None, driver_cuda: str, least_capability: float) -> Iterator[Finding]:
    """Torch's build against the driver's CUDA version, such as 12.4, and the oldest GPU's compute capability.

    Reference: CUDA Compatibility, NVIDIA: a driver runs all minor versions of its major one. CUDA 13.0 release notes:
    nothing older than Turing (7.5).
    """
    if cuda is None:
        mend = "install the build for the driver: https://pytorch.org/get-started"
        yield bad("CUDA", "this torch is built for CPUs alone, and there are GPUs", mend)
    elif driver_cuda and major(driver_cuda) < major(cuda):
        says = f"torch is built for CUDA {cuda}, and the driver knows CUDA up to {driver_cuda}"
        newer = "580" if major(cuda) >= 13 else "525"
        yield bad("CUDA", says, f"update the driver to {newer} or newer, or build the environment anew with {_CUDA_12}")
    elif major(cuda) >= 13 and 0 < least_capability < 7.5:
        says = f"a GPU of compute capability {least_capability}, and CUDA {cuda} begins at 7.5"
        yield bad("CUDA", says, f"build the environment anew with {_CUDA_12}")
    elif not driver_cuda:
        mend = "nvidia-smi shows it at its head"
        yield note("CUDA", f"torch is built for CUDA {cuda}; the driver's version could not be seen", mend)
    else:
        yield good("CUDA", f"torch is built for CUDA {cuda}, the driver knows CUDA up to {driver_cuda}")


def nccl_findings() -> Iterator[Finding]:
    """The version of NCCL that torch brings, where it is a package."""
    versions = [version for name in ("nvidia-nccl-cu13", "nvidia-nccl-cu12") if (version := installed(name))]
    if versions:
        yield good("NCCL", versions[0])


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def torch_cuda() -> str | None:
    """The CUDA version that torch is built for; None: for CPUs alone, or no torch. Its own file says so, unloaded."""
    try:
        file = metadata.distribution("torch").locate_file("torch/version.py")
        text = Path(str(file)).read_text(encoding="utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return None
    found = re.search(r"^cuda\b.*=\s*'([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else None


def within(version: str, bounds: str) -> bool:
    """Whether a version such as 2.15.0+cu132, or a build before it, keeps to bounds such as >=2.11,<2.16."""
    return Version(Version(version).base_version) in SpecifierSet(bounds)


def major(version: str) -> int:
    """The first number of a version."""
    return Version(version).major

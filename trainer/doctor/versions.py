"""Whether the installed packages are those that Provenet requires, and fit each other. Loads none of them."""

import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from trainer.doctor.machine import Finding

DALI = {"nvidia-dali-cuda120": 12, "nvidia-dali-cuda130": 13}  # by distribution, the CUDA it is built for

_SHOWN = ("python", "torch", "torchvision", "accelerate")


def findings(*, on_gpu: bool) -> Iterator[Finding]:
    """Python, the packages, and what torch and DALI are built for."""
    versions: dict[str, str] = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    versions["python"], asked = platform.python_version(), list[str]()
    if "provenet" in versions:  # not where it is started from its folder alone
        about = metadata.metadata("provenet")
        asked = [f"python{about['Requires-Python']}", *(about.get_all("Requires-Dist") or [])]
    yield package_finding(asked, versions)
    yield dali_finding([name for name in DALI if name in versions], torch_cuda(), on_gpu=on_gpu)


def package_finding(asked: Sequence[str], versions: Mapping[str, str]) -> Finding:
    """Compare versions, by canonical name, with the requirements in a distribution's metadata."""
    wrong: list[str] = []
    for one in map(Requirement, asked):
        version = versions.get(canonicalize_name(one.name))
        # a build before a release counts as that release
        if version and Version(version).base_version not in one.specifier:
            wrong.append(f"{one.name} {version}, where {one.specifier} is required")
        elif not version and "extra ==" not in str(one.marker):
            wrong.append(f"{one.name} is missing")
    if wrong:
        fix = "pip install -e '.[cuda13]' (or cuda12) installs tested versions"
        return Finding("packages", "bad", "; ".join(wrong), fix)
    return Finding("packages", "good", ", ".join(f"{name} {versions[name]}" for name in _SHOWN if name in versions))


def dali_finding(builds: Sequence[str], cuda: str | None, *, on_gpu: bool) -> Finding:
    """Which of DALI's builds are there, against the CUDA version that torch is built for (None: for CPUs alone)."""
    if not builds:
        fix = "pip install -e '.[cuda13]' (or cuda12) adds it; it decodes JPEG files faster on most machines"
        return Finding("DALI", "note", "not installed: images are loaded by threads alone", fix)
    fix = f"pip uninstall -y {' '.join(builds)}, then pip install -e '.[cuda13]' or '.[cuda12]', as torch is built"
    if len(builds) > 1:
        return Finding("DALI", "bad", f"{' and '.join(builds)} are both installed, and own the same files", fix)
    if cuda and DALI[builds[0]] != Version(cuda).major:
        message = f"{builds[0]} beside a torch built for CUDA {cuda}"
        return Finding("DALI", "bad" if on_gpu else "note", message, fix)
    return Finding("DALI", "good", f"{builds[0]}, and torch is built for {f'CUDA {cuda}' if cuda else 'CPUs alone'}")


def torch_cuda() -> str | None:
    """The CUDA version that torch is built for, read from its files; None: for CPUs alone, or no torch."""
    try:
        file = Path(str(metadata.distribution("torch").locate_file("torch/version.py")))
        match = re.search(r"^cuda\b.*=\s*'([\d.]+)'", file.read_text(encoding="utf-8"), re.MULTILINE)
    except (metadata.PackageNotFoundError, OSError):
        return None
    return match[1] if match else None

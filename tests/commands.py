"""The project's commands as a shell runs them."""

import os
import subprocess
import sys
from pathlib import Path


def run(module: str, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS`, whatever its exit code."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environment or {})}, timeout=60
    )


def placed(text: str, images: Path, folder: Path) -> str:
    """Real paths for IMAGES, for OUT, a run directory to be, and for NOWHERE, which does not exist."""
    places = {"IMAGES": images, "OUT": folder / "out", "NOWHERE": folder / "nowhere"}
    for name, path in places.items():
        text = text.replace(name, str(path))
    return text


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command wrote, in one line, without the frames around it."""
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())

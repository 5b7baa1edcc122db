"""The project's commands as a shell runs them."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

PROVENET = Path(sys.executable).with_name("provenet")
HANGS_S = 600
"""What takes so long hangs: the busiest machine is through much earlier."""


def run(module: str, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS`, whatever its exit code."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environment or {})}, timeout=HANGS_S
    )


def call(main: Callable[[list[str]], int], *arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has loaded torch long ago: for tables of many cases."""
    words, output, errors = list(map(str, arguments)), io.StringIO(), io.StringIO()
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
    }
    try:
        with patch.dict(os.environ), redirect_stdout(output), redirect_stderr(errors):
            code = main(words)
    except SystemExit as end:
        code = end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())


def loads(module: str, *arguments: object) -> set[str]:
    """The top-level packages that a command imports: they decide how soon it answers, on a busy machine too."""
    command = [sys.executable, "-X", "importtime", "-m", module, *map(str, arguments)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return {line.split("|")[-1].strip().split(".")[0] for line in listed.splitlines()}


def placed(text: str, images: Path, folder: Path) -> str:
    """Real paths for IMAGES, for OUT, a run directory to be, and for NOWHERE, which does not exist."""
    places = {"IMAGES": images, "OUT": folder / "out", "NOWHERE": folder / "nowhere"}
    for name, path in places.items():
        text = text.replace(name, str(path))
    return text


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command wrote, in one line, without the frames around it."""
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())

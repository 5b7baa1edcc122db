"""The project's commands as a shell runs them."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch


def run(module: str, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS`, whatever its exit code."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **(environment or {})}, timeout=60
    )


def call(main: Callable[[list[str]], int], *arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has loaded torch long ago: for tables of many cases."""
    words, output, errors = list(map(str, arguments)), io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
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


def answers_within(seconds: float, module: str, *arguments: object) -> bool:
    """Whether one of five calls ends so soon, waiting for a free core apart: other programs' work is not ours."""
    return any(_seconds(module, *arguments) < seconds for _ in range(5))


def _seconds(module: str, *arguments: object) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its figures are there until it is reaped
        taken = time.perf_counter() - start
        _, waited_ns, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
    assert process.returncode == 0
    return taken - int(waited_ns) / 1e9


def placed(text: str, images: Path, folder: Path) -> str:
    """Real paths for IMAGES, for OUT, a run directory to be, and for NOWHERE, which does not exist."""
    places = {"IMAGES": images, "OUT": folder / "out", "NOWHERE": folder / "nowhere"}
    for name, path in places.items():
        text = text.replace(name, str(path))
    return text


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command wrote, in one line, without the frames around it."""
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())

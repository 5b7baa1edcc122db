"""Start, watch, stop and compare real training processes."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands import HANGS_S
from tests.system import forks
from tests.system.measured import MEASURED
from trainer.checkpoint import store

BIN = Path(sys.executable).parent
SMALL = (
    *("train", "demo", "--model.name", "resnet20", "--model.num-classes", "4", "--global-batch", "16"),
    *("--micro-batch", "8", "--input.train-size", "16", "--input.eval-resize", "18", "--input.eval-crop", "16"),
    *("--epochs", "12"),
)
LAUNCHERS: dict[str, tuple[str, ...]] = {
    "python": (sys.executable, "-m", "trainer"),
    "showing imports": (sys.executable, "-X", "importtime", "-m", "trainer"),
    "torchrun x2": (str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2", "-m", "trainer"),
    "torchrun x3": (str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "3", "-m", "trainer"),
}


def start(
    images: Path,
    run: Path,
    *flags: str,
    launcher: str = "python",
    recipe: str | None = None,
    before: Callable[[], None] | None = None,
    fork: bool = True,
) -> subprocess.Popen[str]:
    """Train in a process group of its own, on one CPU thread a process, so that results can be compared bit for bit.

    `before` is called in the new process, which is no fork then (see forks.py).
    """
    learn = ("train", recipe) if recipe else SMALL
    place = ("--data", str(images), "--output", str(run), "--threads", "1", "--log-every", "1")
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    command, output = (*LAUNCHERS[launcher], *learn, *place, *flags), subprocess.PIPE
    if fork and not before:
        return forks.begin(command, environment, stdout=output, stderr=subprocess.STDOUT)
    return subprocess.Popen(
        command,
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=before,
    )


def finish(process: subprocess.Popen[str], *, code: int | None = 0, timeout_s: float = HANGS_S) -> str:
    """Wait for the end and give the output; `code` None takes any exit code but 0."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    wanted = process.returncode != 0 if code is None else process.returncode == code
    assert wanted, f"exit code {process.returncode}\n{output}"
    return output


def train(images: Path, run: Path, *flags: str, launcher: str = "python", fork: bool = True) -> str:
    """Train to the end."""
    return finish(start(images, run, *flags, launcher=launcher, fork=fork))


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all processes of pytest share, to be read alone: the first that needs it makes it, others wait."""
    root = factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "shared" / name
    folder.parent.mkdir(exist_ok=True)
    made = folder.with_suffix(".made")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            make(folder)
            made.touch()
    return folder


def stop_at(
    process: subprocess.Popen[str], run: Path, step: int, number: signal.Signals, *, delay_s: float = 0
) -> None:
    """Send a signal to the whole process group, as a terminal does, some time after the run has logged the step."""
    await_step(process, run, step)
    time.sleep(delay_s)
    if number == signal.SIGKILL:
        kill_all(run)
    else:
        os.killpg(process.pid, number)


def await_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    """Wait until a run has logged the step."""
    deadline = time.monotonic() + HANGS_S
    while last_step(run) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for(condition: Callable[[], bool], run: Path) -> None:
    """Wait until something is so of a run that was submitted; else fail with its output."""
    deadline = time.monotonic() + HANGS_S
    while not condition():
        assert time.monotonic() < deadline, "\n".join(log.read_text() for log in run.glob("launch/*_log.*"))
        time.sleep(0.05)


def kill_all(run: Path) -> None:
    """SIGKILL every process of a run at once: torchrun's are in sessions of their own, and outlive it."""
    for process in processes(run):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process, signal.SIGKILL)


def processes(run: Path, rank: int | None = None) -> list[int]:
    """The processes of a run, launchers too, or the one of this rank."""
    found: list[int] = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words, variables = ((place / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
            if str(run).encode() in words and (rank is None or f"RANK={rank}".encode() in variables):
                found.append(int(place.name))
    return found


def last_step(run: Path) -> int:
    """The last step logged."""
    return max((record["step"] for record in records(run)), default=0)


def records(run: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def points(run: Path) -> list[dict[str, Any]]:
    """Every number that must not depend on when the run was stopped."""
    return [
        {name: value for name, value in record.items() if name not in MEASURED}
        for record in records(run)
        if record["kind"] != "start"
    ]


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """TensorBoard's points, as its readers show them."""
    board = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    tags = [
        tag
        for tag in board.Tags()["scalars"]
        if not tag.startswith(("throughput/", "machine/", "time/")) and tag != "run/restarts"
    ]
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in tags}


def state(run: Path) -> dict[str, Any]:
    """The newest valid checkpoint."""
    found = store.load_newest(run / "checkpoints")
    assert found is not None
    return found


def same_bits(ours: Any, theirs: Any) -> bool:
    """Whether two nested states are equal to the last bit."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same_bits(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same_bits, ours, theirs))
    return ours == theirs

"""Start, watch, stop and compare real training processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

BIN = Path(sys.executable).parent
SMALL = (
    *("train", "demo", "--model.name", "resnet20", "--model.num-classes", "4", "--global-batch", "16"),
    *("--micro-batch", "8", "--input.train-size", "32", "--input.eval-resize", "36", "--input.eval-crop", "32"),
    *("--epochs", "12"),
)
ACCELERATE = (
    *(str(BIN / "accelerate"), "launch", "--quiet", "--num_machines", "1", "--num_cpu_threads_per_process", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)
LAUNCHERS: dict[str, tuple[str, ...]] = {
    "python": (sys.executable, "-m", "trainer"),
    "accelerate": (*ACCELERATE, "--cpu", "--num_processes", "1", "-m", "trainer"),
    "torchrun": (str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "1", "-m", "trainer"),
    "accelerate x2": (*ACCELERATE, "--multi_gpu", "--num_processes", "2", "--main_process_port", "0", "-m", "trainer"),
    "torchrun x2": (str(BIN / "torchrun"), "--standalone", "--nproc-per-node", "2", "-m", "trainer"),
}


def start(
    images: Path, run: Path, *flags: str, launcher: str = "python", recipe: str | None = None
) -> subprocess.Popen[str]:
    """Train in a process group of its own, on one CPU thread a process, so that results can be compared bit for bit."""
    learn = ("train", recipe) if recipe else SMALL
    place = ("--data", str(images), "--output", str(run), "--threads", "1", "--log-every", "1")
    return subprocess.Popen(
        [*LAUNCHERS[launcher], *learn, *place, *flags],
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], *, code: int | None = 0, timeout_s: float = 180) -> str:
    """Wait for the end and give the output; `code` None takes any exit code but 0."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    wanted = process.returncode != 0 if code is None else process.returncode == code
    assert wanted, f"exit code {process.returncode}\n{output}"
    return output


def train(images: Path, run: Path, *flags: str, launcher: str = "python") -> str:
    """Train to the end."""
    return finish(start(images, run, *flags, launcher=launcher))


def stop_at(process: subprocess.Popen[str], run: Path, step: int, number: signal.Signals) -> None:
    """Send a signal to the whole process group, as a terminal does, once the run has logged the step."""
    deadline = time.monotonic() + 120
    while last_step(run) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, number)


def last_step(run: Path) -> int:
    """The last step logged."""
    return max((record["step"] for record in records(run)), default=0)


def records(run: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def points(run: Path) -> list[dict[str, Any]]:
    """Every number that must not depend on when the run was stopped."""
    timed = ("time", "images_per_s", "data_wait")
    return [
        {name: value for name, value in record.items() if name not in timed}
        for record in records(run)
        if record["kind"] != "start"
    ]


def state(run: Path) -> dict[str, Any]:
    """The newest checkpoint."""
    newest = max((run / "checkpoints").glob("step-*"))
    return torch.load(newest / "state.pt", weights_only=True)


def same_bits(ours: Any, theirs: Any) -> bool:
    """Whether two nested states are equal to the last bit."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same_bits(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same_bits, ours, theirs))
    return ours == theirs

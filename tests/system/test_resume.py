"""The law of resume: killed at any instant and started again, a run ends as one that never stopped, bit for bit."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from tests.system.running import (
    await_step,
    curves,
    finish,
    kill_all,
    last_step,
    once,
    points,
    same_bits,
    start,
    state,
    stop_at,
    train,
)
from trainer.stopping import START_AGAIN

pytestmark = pytest.mark.slow

# everything that has a state: accumulated micro-batches, an average, mixed and augmented images, dropped branches
FULL = (
    *("--mixing.mixup", "0.2", "--mixing.cutmix", "1.0", "--ema.decay", "0.9", "--ema.every", "2"),
    *("--input.augment.policy", "randaugment", "--input.augment.erasing", "0.25", "--model.drop-path", "0.1"),
    *("--loss.label-smoothing", "0.1", "--clip-norm", "1.0", "--input.no-drop-last", "--precise-bn", "16"),
    *("--epochs", "7"),
)
STEPS = 42
LAW = {
    "threads, fp32": ("python", ("--loader", "threads", "--precision", "fp32", *FULL)),
    "dali, bf16": ("python", ("--loader", "dali", "--precision", "bf16", *FULL)),
    "two ranks, bf16": ("torchrun x2", ("--loader", "threads", "--precision", "bf16", *FULL)),
}
KILLS = 2  # of each; 3 more inside writes, and those of two ranks in tests/system/test_drill.py


# so close together that a run which is killed often gets on
CLOSE = ("--save-steps", "3", "--keep-checkpoints", "2")


Undisturbed = Callable[[str], Path]


@pytest.fixture
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run by the flags of a name that nothing kills."""

    def of(name: str) -> Path:
        launcher, flags = LAW[name]
        return once(tmp_path_factory, name, lambda run: train(images, run, *flags, launcher=launcher, fork=False))

    return of


@pytest.mark.parametrize("name", LAW)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    images: Path, undisturbed: Undisturbed, tmp_path: Path, name: str
) -> None:
    launcher, flags = LAW[name]
    whole, killed = undisturbed(name), tmp_path / "killed"

    chosen = random.Random(name)
    steps = sorted(chosen.sample(range(2, STEPS), KILLS))
    for step in steps:
        process = start(images, killed, *flags, *CLOSE, launcher=launcher)
        stop_at(process, killed, step, signal.SIGKILL, delay_s=chosen.random() * 0.05)
        finish(process, code=None)
    output = train(images, killed, *flags, *CLOSE, launcher=launcher)

    assert "going on after step" in output
    assert same_bits(state(killed), state(whole))
    assert points(killed) == points(whole)
    assert curves(killed) == curves(whole)


def test_a_run_that_is_killed_inside_its_writes_ends_as_one_that_is_not(
    images: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    name, killed = "threads, fp32", tmp_path / "killed"
    (_, flags), whole = LAW[name], undisturbed(name)
    for _ in range(3):
        step = last_step(killed)
        process = start(images, killed, *flags, "--save-steps", "1")
        kill_while_writing(killed, after=step + 5)
        finish(process, code=-signal.SIGKILL)
    train(images, killed, *flags, "--save-steps", "1")
    assert same_bits(state(killed), state(whole))
    assert points(killed) == points(whole)
    assert curves(killed) == curves(whole)


def kill_while_writing(run: Path, *, after: int) -> None:
    """Kill a run while a checkpoint is only half there."""
    deadline = time.monotonic() + HANGS_S
    while last_step(run) < after or not list((run / "checkpoints").glob("*.tmp")):
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    kill_all(run)


STOPPED = {
    "compiled": ("python", signal.SIGTERM, ("--compile", "default", "--epochs", "4")),
    # three add up in an order that depends on where in a bucket DDP has put a gradient
    "three ranks, by the death of their launcher": ("torchrun x3", signal.SIGKILL, ("--global-batch", "24")),
}


@pytest.mark.parametrize("name", STOPPED)
def test_a_run_that_is_asked_to_stop_saves_everything(images: Path, tmp_path: Path, name: str) -> None:
    launcher, number, flags = STOPPED[name]
    flags = (*FULL, *flags)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(images, whole, *flags, launcher=launcher, fork=False)
    process = start(images, stopped, *flags, launcher=launcher)
    await_step(process, stopped, 9)
    process.send_signal(number)  # torchrun passes on those that it can
    finish(process, code=START_AGAIN if launcher == "python" else None)
    assert state(stopped)["step"] >= 9
    train(images, stopped, *flags, launcher=launcher)
    assert same_bits(state(stopped), state(whole))
    assert points(stopped) == points(whole)
    assert curves(stopped) == curves(whole)

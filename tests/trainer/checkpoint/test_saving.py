import errno
import logging
import multiprocessing
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.commands import HANGS_S
from tests.limits import full_disk
from trainer.checkpoint import store
from trainer.checkpoint.saving import Saver
from trainer.recipe.config import SiteConfig

# which loads torch once, for every writer
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["trainer.checkpoint.saving"])

NUMBERS = 50_000  # 200 kB of weights


class TakenOverError(RuntimeError):
    """What a guard raises."""


class Gate:
    """A guard that a test opens, so that a write is under way for as long as it needs."""

    def __init__(self) -> None:
        self.open, self.asked, self.running, self.most = threading.Event(), threading.Event(), 0, 0

    def __call__(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.asked.set()
        assert self.open.wait(30)
        self.running -= 1


def free() -> None:
    """The run directory is ours."""


def saver(folder: Path, guard: Callable[[], None] = free, token: str | None = None, **settings: Any) -> Saver:
    return Saver(folder, SiteConfig(data=folder, output=folder, **settings), guard, token)


def tree(step: int, numbers: int = NUMBERS) -> dict[str, Any]:
    return {"model": {"w": torch.full((numbers,), float(step))}, "about": {"model": "resnet18"}, "step": step}


def save(saver: Saver, *steps: int, top1: float | None = None) -> None:
    for step in steps:
        saver.begin(step, tree(step), top1)
        saver.finish()


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def newest(folder: Path) -> dict[str, Any]:
    state = store.load_newest(folder)
    assert state is not None
    return state


def test_it_is_due_by_the_clock_from_the_last_one_begun(tmp_path: Path) -> None:
    writer = saver(tmp_path, save_minutes=0.2 / 60)
    assert not writer.due(1)
    time.sleep(0.2)
    assert writer.due(2)
    save(writer, 2)
    assert not writer.due(3)


def test_it_is_due_by_the_count(tmp_path: Path) -> None:
    writer = saver(tmp_path, save_steps=3)
    due = []
    for step in range(1, 8):
        if writer.due(step):
            due.append(step)
            save(writer, step)
    assert due == [3, 6]


def test_what_falls_due_during_a_write_is_due_after_it(tmp_path: Path) -> None:
    gate = Gate()
    writer = saver(tmp_path, gate, save_steps=2)
    writer.begin(2, tree(2))
    assert not writer.due(4)
    gate.open.set()
    writer.finish()
    assert writer.due(5)
    save(writer, 5)
    assert not writer.due(7)


def test_later_changes_in_place_do_not_reach_the_file(tmp_path: Path) -> None:
    gate = Gate()
    writer = saver(tmp_path, gate)
    given = tree(1)
    writer.begin(1, given)
    assert gate.asked.wait(30)
    given["model"]["w"].fill_(-1)
    gate.open.set()
    writer.finish()
    assert newest(tmp_path)["model"]["w"].eq(1).all()


def test_one_is_written_at_a_time(tmp_path: Path) -> None:
    gate = Gate()
    writer = saver(tmp_path, gate)
    writer.begin(1, tree(1))
    threading.Timer(0.1, gate.open.set).start()
    for step in (2, 3, 4):
        writer.begin(step, tree(step))
    writer.finish()
    assert gate.most == 1
    assert steps(tmp_path) == [2, 3, 4]


def test_times_are_known_after_the_first(tmp_path: Path) -> None:
    writer = saver(tmp_path)
    assert (writer.stall_s, writer.write_s) == (None, None)
    save(writer, 1)
    assert writer.stall_s is not None
    assert writer.write_s is not None
    assert 0 < writer.stall_s < 30
    assert 0 < writer.write_s < 30


def test_a_valid_step_is_written_again_only_with_a_new_top1(tmp_path: Path) -> None:
    writer = saver(tmp_path)
    for top1, value, expected in ((None, 1, 1), (None, 2, 1), (70.0, 3, 3), (70.0, 4, 3), (None, 5, 3)):
        writer.begin(8, {**tree(8), "value": value}, top1)
        writer.finish()
        assert newest(tmp_path)["value"] == expected
    assert steps(tmp_path) == [8]


def test_the_newest_and_the_best_are_kept_over_restarts_too(tmp_path: Path) -> None:
    top1 = {1: 50.0, 2: 70.0, 3: 60.0, 4: 65.0, 5: None, 6: 69.0}
    for restarts in (False, True):
        folder = tmp_path / str(restarts)
        writer = saver(folder, keep_checkpoints=2, keep_best=1)
        for step, value in top1.items():
            save(writer, step, top1=value)
            writer = saver(folder, keep_checkpoints=2, keep_best=1) if restarts else writer
        assert steps(folder) == [2, 5, 6]


def test_a_full_disk_is_said_and_the_next_write_goes_well(tmp_path: Path) -> None:
    writer = saver(tmp_path)
    save(writer, 1)
    assert writer.failure is None
    for numbers in (NUMBERS, 10):  # the weights fail, or else the state
        with full_disk(100_000):
            writer.begin(2, {**tree(2, numbers), "momentum": torch.zeros(NUMBERS)})
            writer.finish()
        assert writer.failure is not None
        assert writer.failure.startswith(f"the checkpoint of step 2 was not written: {tmp_path}")
        assert "File too large" in writer.failure
        assert steps(tmp_path) == [1]
    save(writer, 3)
    assert writer.failure is None
    assert newest(tmp_path)["step"] == 3


def test_more_than_is_free_is_refused_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = saver(tmp_path)
    save(writer, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=100_000))
    save(writer, 2)
    expected = f"not written: {tmp_path}: the checkpoint needs 0.000267 GB, and 0.0001 GB are free there; make room"
    assert expected in str(writer.failure)
    assert steps(tmp_path) == [1]


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    writer = saver(tmp_path / "checkpoints")
    save(writer, 1)
    assert writer.failure == f"the checkpoint of step 1 was not written: {tmp_path}/checkpoints: File exists"


def test_a_budget_removes_old_ones_before_writing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each takes 0.2 MB, a new one is taken for 0.27: three fit into 0.7 MB while none is written, but not a fourth."""
    writer = saver(tmp_path, keep_checkpoints=3, checkpoints_gb=0.0007)
    with caplog.at_level(logging.WARNING):
        save(writer, 1, 2, 3, 4)
    assert writer.failure is None
    assert steps(tmp_path) == [2, 3, 4]
    assert "step-0000000001 is removed for --checkpoints-gb 0.0007" in caplog.text


def test_a_budget_that_is_too_small_is_said_and_the_newest_valid_one_stays(tmp_path: Path) -> None:
    writer = saver(tmp_path, checkpoints_gb=0.0003)
    save(writer, 1, 2)
    assert writer.failure is not None
    assert f"{tmp_path}: --checkpoints-gb: 0.0003 is too small for" in writer.failure
    assert steps(tmp_path) == [1]


def test_those_of_another_version_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "step-0000000001"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"schema": 99}')
    save(saver(tmp_path, keep_checkpoints=1, keep_best=0), 2, 3)
    assert steps(tmp_path) == [1, 3]


def test_a_damaged_one_goes_once_a_newer_stands(tmp_path: Path) -> None:
    writer = saver(tmp_path)
    save(writer, 1, 2)
    (tmp_path / "step-0000000002" / "state.pt").unlink()
    save(writer, 3)
    assert steps(tmp_path) == [1, 3]


def test_a_run_taken_over_renames_nothing_and_the_owner_is_told_at_the_next_boundary(tmp_path: Path) -> None:
    asked: list[int] = []

    def guard() -> None:
        asked.append(1)
        if len(asked) == 2:  # between the beginning of the write and its rename
            raise TakenOverError("held by another")

    writer = saver(tmp_path, guard)
    writer.begin(1, tree(1))
    while threading.active_count() > 1 and not writer.due(1):
        time.sleep(0.01)
    assert writer.due(1)
    with pytest.raises(TakenOverError, match="held by another"):
        writer.begin(2, tree(2))
    assert steps(tmp_path) == []
    assert writer.failure is None
    writer.finish()


def test_a_disk_on_which_the_guard_cannot_look_costs_one_checkpoint(tmp_path: Path) -> None:
    faults = [OSError(errno.EIO, "Input/output error", "holder.json")]

    def guard() -> None:
        if faults:
            raise faults.pop()

    writer = saver(tmp_path, guard)
    save(writer, 1)
    assert writer.failure == "the checkpoint of step 1 was not written: holder.json: Input/output error"
    save(writer, 2)
    assert (writer.failure, steps(tmp_path)) == (None, [2])


def test_a_fault_of_the_write_reaches_the_owner(tmp_path: Path) -> None:
    writer = saver(tmp_path)
    writer.begin(1, {**tree(1), "model": [torch.zeros(1)]})
    with pytest.raises(AttributeError):
        writer.finish()
    save(writer, 2)
    assert newest(tmp_path)["step"] == 2


def test_a_process_that_ends_in_an_exception_ends_its_write(tmp_path: Path) -> None:
    code = f"""
import torch
from pathlib import Path
from trainer.recipe.config import SiteConfig
from trainer.checkpoint.saving import Saver
folder = Path({str(tmp_path)!r})
saver = Saver(folder, SiteConfig(data=folder, output=folder), lambda: None)
saver.begin(1, {{"model": {{"w": torch.ones(2_000_000)}}, "about": {{}}, "step": 1}})
raise SystemExit("failed")
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=HANGS_S, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "failed\n")
    assert newest(tmp_path)["step"] == 1


def write_without_end(folder: Path, done: Connection) -> None:
    """Checkpoints without end, written behind the loop; each told once it is there."""
    writer = saver(folder, keep_checkpoints=1, keep_best=1)
    for step in range(1, 10_000):
        writer.begin(step, tree(step, 500_000), top1=float(step % 3))
        if step > 1:
            done.send(step - 1)  # which this begin has waited for


@pytest.mark.parametrize("delay_s", [0.0, 0.002, 0.004, 0.006, 0.009, 0.012, 0.015, 0.02])
def test_a_writer_killed_at_any_instant_leaves_a_valid_checkpoint(tmp_path: Path, delay_s: float) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=write_without_end, args=(tmp_path, sender))
    process.start()
    last = [receiver.recv() for _ in range(5)][-1]
    time.sleep(delay_s)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    state = newest(tmp_path)
    assert state["step"] >= last
    assert state["model"]["w"].eq(state["step"]).all()
    save(saver(tmp_path, keep_checkpoints=1, keep_best=0), state["step"] + 1)
    assert steps(tmp_path) == [state["step"] + 1]


def rewrite_without_end(folder: Path, done: Connection) -> None:
    """The same step without end, each time with another top-1."""
    writer = saver(folder)
    for count in range(1, 10_000):
        save(writer, 1, top1=float(count))
        done.send(count)


@pytest.mark.parametrize("delay_s", [0.0, 0.003, 0.006, 0.01])
def test_killed_while_a_step_is_written_anew_the_old_or_the_new_one_is_there(tmp_path: Path, delay_s: float) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=rewrite_without_end, args=(tmp_path, sender))
    process.start()
    for _ in range(5):
        receiver.recv()
    time.sleep(delay_s)
    process.kill()
    process.join()
    assert newest(tmp_path)["step"] == 1

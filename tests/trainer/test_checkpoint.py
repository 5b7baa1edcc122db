import json
import logging
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from trainer import checkpoint

# which loads torch once, for every writer
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["trainer.checkpoint"])


def write(folder: Path, steps: Connection) -> None:
    """Checkpoints without end, each told once it is there."""
    for step in range(1, 10_000):
        checkpoint.save(folder, step, {"step": step, "weights": torch.full((500_000,), float(step))}, keep=2)
        steps.send(step)


def save(folder: Path, *steps: int, keep: int = 10) -> None:
    for step in steps:
        checkpoint.save(folder, step, {"step": step, "weights": torch.full((3,), float(step))}, keep)


def newest(folder: Path) -> int | None:
    state = checkpoint.load_newest(folder)
    return state["step"] if state else None


def test_the_newest_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, 9, 10, 100)
    state = checkpoint.load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 100
    assert state["weights"].tolist() == [100.0] * 3


def test_a_folder_without_checkpoints_gives_none(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path) is None
    assert checkpoint.load_newest(tmp_path / "missing") is None


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3, 4, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000003", "step-0000000004"]


def damage_truncate(path: Path) -> None:
    os.truncate(path / "state.pt", 100)


def damage_flip_a_byte(path: Path) -> None:
    content = bytearray((path / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "state.pt").write_bytes(content)


def damage_no_state(path: Path) -> None:
    (path / "state.pt").unlink()


def damage_no_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def damage_garbled_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"schema"')


def damage_other_schema(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_flip_a_byte,
        damage_no_state,
        damage_no_manifest,
        damage_garbled_manifest,
        damage_other_schema,
    ],
)
def test_a_damaged_one_is_passed_over_for_the_next_older_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    save(tmp_path, 1, 2)
    assert callable(damage)
    damage(tmp_path / "step-0000000002")
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path) == 1
    assert "step-0000000002 is passed over" in caplog.text


def test_a_damaged_one_of_the_same_step_is_written_again(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    damage_truncate(tmp_path / "step-0000000002")
    save(tmp_path, 2)
    assert newest(tmp_path) == 2


def test_a_full_disk_leaves_the_older_ones(tmp_path: Path) -> None:
    """/dev/full takes no byte: as the state file, it fails like a full disk, in the middle of the write."""
    save(tmp_path, 1)
    (tmp_path / "step-0000000002").symlink_to("/dev/full")
    with pytest.raises(OSError):
        save(tmp_path, 2)
    assert newest(tmp_path) == 1


@pytest.mark.parametrize("delay_s", [0.0, 0.004, 0.009, 0.015])
def test_a_writer_killed_at_any_instant_leaves_a_valid_checkpoint(tmp_path: Path, delay_s: float) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    writer = PROCESSES.Process(target=write, args=(tmp_path, sender))
    writer.start()
    last = [receiver.recv() for _ in range(5)][-1]
    time.sleep(delay_s)
    writer.kill()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    found = newest(tmp_path)
    assert found is not None
    assert found >= last
    save(tmp_path, found + 1, keep=2)
    assert not list(tmp_path.glob("*.tmp"))

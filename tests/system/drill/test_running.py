import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from launch import attempts
from launch.attempts import End
from launch.submission import LaunchFolder
from tests.system.drill.cluster import Cluster
from tests.system.drill.running import DrillError, Running, difference
from trainer.checkpoint import store
from trainer.rundir import RunDirectory

Change = Callable[[Path], object]


def ended(path: Path, *, weight: float = 1.0, momentum: float = 0.5, time: float = 7.0) -> RunDirectory:
    """A run directory with one checkpoint and two logged points."""
    path.mkdir()
    tree = {
        "model": {"weight": torch.tensor([weight])},
        "about": {"model": "resnet20"},
        "optimizer": {"momentum": torch.tensor([momentum])},
        "step": 2,
    }
    store.write(path / "checkpoints", 2, tree)
    points = [{"kind": "start", "step": 0, "host": path.name}]
    points += [{"kind": "train", "step": step, "loss": 1 / step, "time": time, "images_per_s": time} for step in (1, 2)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    return RunDirectory(path)


def test_two_runs_that_differ_in_their_times_and_hosts_alone_are_the_same(tmp_path: Path) -> None:
    assert difference(ended(tmp_path / "a"), ended(tmp_path / "b", time=8.0)) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"weight": 1.0000001}, "model.safetensors of the last"), ({"momentum": 0.5000001}, "state.pt of the last")],
)
def test_the_last_bit_of_any_state_counts(changes: dict[str, float], expected: str, tmp_path: Path) -> None:
    found = difference(ended(tmp_path / "a"), ended(tmp_path / "b", **changes))
    assert found and expected in found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda run: (run / "metrics.jsonl").write_text(""), "0 logged points, not 2"),
        (lambda run: replace(run / "metrics.jsonl", '"loss": 0.5', '"loss": 0.6'), "the logged point"),
        (lambda run: (run / "checkpoints/step-0000000002/manifest.json").unlink(), "one has no checkpoint"),
        (lambda run: replace(run / "checkpoints/step-0000000002/state.pt", "PK", "XX"), "one has no checkpoint"),
    ],
)
def test_every_logged_number_counts_and_damage_is_no_sameness(change: Change, expected: str, tmp_path: Path) -> None:
    whole, other = ended(tmp_path / "a"), ended(tmp_path / "b")
    change(other.path)
    found = difference(other, whole)
    assert found and expected in found


def replace(file: Path, old: str, new: str) -> None:
    content = file.read_bytes()
    assert old.encode() in content
    file.write_bytes(content.replace(old.encode(), new.encode(), 1))


def running(path: Path) -> Running:
    (path / "launch").mkdir()
    return Running(Cluster(path), RunDirectory(path), "12")


def attempt(run: Running, step: int, end: End | None = None) -> None:
    file = LaunchFolder(run.run.path).attempts
    begun = attempts.begin(file, job=run.job, restart=0, nodes="n1", step=step)
    if end:
        attempts.end(file, begun, end)


def test_steps_count_again_that_were_logged_past_the_next_attempt_s_beginning(tmp_path: Path) -> None:
    run = running(tmp_path)
    for step in (0, 20, 41):
        attempt(run, step)
    run.reached.update({1: 23, 2: 41, 3: 72})
    assert run.steps_again() == 3


def test_waiting_for_a_run_that_has_stopped_ends_with_its_log(tmp_path: Path) -> None:
    run = running(tmp_path)
    attempt(run, 0, End(code=2, step=0, then="stopped", why="bad input", time=time.time()))
    with pytest.raises(DrillError, match="waited for step 5"):
        run.await_step(5)

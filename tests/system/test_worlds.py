"""The same run on another number of processes: the same images in the same steps, results apart by rounding alone."""

import signal
from pathlib import Path

import pytest

from tests.system.running import finish, points, records, start, state, stop_at, train

pytestmark = pytest.mark.slow

# short and gentle, so that what rounding leaves apart has no time to grow
GENTLE = (
    "--epochs",
    "3",
    "--optimizer.lr",
    "0.01",
    "--ema.decay",
    "0.9",
    "--input.no-drop-last",
    "--precision",
    "fp32",
)


def values(run: Path) -> list[dict[str, float]]:
    return [{name: point[name] for name in ("step", "loss", "lr") if name in point} for point in points(run)]


def close(run: Path, other: Path) -> None:
    for ours, theirs in zip(values(run), values(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    weights, others = state(run), state(other)
    for kind in ("model", "ema"):
        for name, weight in weights[kind].items():
            theirs = others[kind][name]
            assert (weight.double() - theirs.double()).norm() <= 1e-3 * max(theirs.double().norm(), 1e-3), name


def test_a_run_goes_from_two_processes_to_one_and_back(images: Path, tmp_path: Path) -> None:
    """Weights, averages and BatchNorm's statistics are those of one process, and of two, that never changed."""
    alone, pair, changing = (tmp_path / name for name in ("alone", "pair", "changing"))
    train(images, alone, *GENTLE)
    train(images, pair, *GENTLE, launcher="torchrun x2")
    for launcher, step in (("torchrun x2", 4), ("python", 10)):
        process = start(images, changing, *GENTLE, launcher=launcher)
        stop_at(process, changing, step, signal.SIGINT)
        finish(process, code=None)
    train(images, changing, *GENTLE, launcher="torchrun x2")

    sizes = [record["world_size"] for record in records(changing) if record["kind"] == "start"]
    assert sizes == [2, 1, 2]
    for other in (alone, pair):
        close(changing, other)

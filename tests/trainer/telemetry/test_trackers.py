import json
import re
from pathlib import Path

import pytest

from tests.commands import HANGS_S
from tests.trainer.telemetry import watched
from trainer import preflight
from trainer.context import RunContext
from trainer.recipe.config import SiteConfig
from trainer.recipe.recipes import load
from trainer.telemetry.trackers import TrackerError, Trackers
from trainer.world import World


def logged(run: Path) -> list[list[float]]:
    """The losses that wandb's own files hold, of each start; its records are protocol buffers with JSON in them."""
    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    values = (re.findall(rb"train/loss.{0,4}?(\d\.\d+)", file.read_bytes()) for file in files)
    return [sorted(set(map(float, losses))) for losses in values]  # each stands there as a point and in a summary


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunContext:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB__SERVICE_WAIT", "WANDB_INIT_TIMEOUT"):  # of 30 and 90 s, too few on a busy machine
        monkeypatch.setenv(name, str(HANGS_S))
    (tmp_path / "r20").mkdir()
    return watched.context(tmp_path / "r20", trackers=("wandb",))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_wandb_gets_the_values_and_a_run_that_goes_on_is_the_same(offline: RunContext) -> None:
    for steps in (range(1, 4), range(3, 6)):  # the second was killed, and begins before the first's end
        trackers = Trackers(offline)
        for step in steps:
            trackers.log({"train/loss": step + 0.125}, step)
        trackers.close()
    (identity,) = json.loads(offline.run.trackers.read_text()).values()
    runs = list(offline.run.path.glob("wandb/offline-run-*"))
    assert len(runs) == 2
    assert all(identity in folder.name for folder in runs)
    __import__("wandb").teardown()  # waits for its other process, which may still write
    assert logged(offline.run.path) == [[1.125, 2.125, 3.125], [3.125, 4.125, 5.125]]


def test_a_tracker_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aim", None)  # as where it is not installed
    with pytest.raises(TrackerError, match=r"^--trackers aim: .+; leave it out to train without$"):
        Trackers(watched.context(tmp_path, trackers=("aim",)))


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    trackers = Trackers(watched.context(tmp_path))
    trackers.log({"train/loss": 1.0}, 1)
    trackers.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_tracker_that_fails_on_the_way_is_left_out_with_a_word(
    offline: RunContext, capsys: pytest.CaptureFixture[str]
) -> None:
    trackers = Trackers(offline)
    trackers._open["wandb"].finish()  # from here on its run is over
    trackers.log({"train/loss": 1.0}, 1)
    trackers.log({"train/loss": 1.0}, 2)
    trackers.close()
    said = capsys.readouterr().out
    assert said.count("--trackers wandb is left out from here on: ") == 1


def test_a_package_that_is_missing_is_named_before_anything_starts(images: Path, tmp_path: Path) -> None:
    site = SiteConfig(data=images, output=tmp_path / "run", trackers=("comet_ml", "wandb"))
    problems = preflight.problems(load("demo"), site, World())
    assert "--trackers comet_ml: its package is not installed; pip install comet-ml" in problems
    assert not any("wandb" in problem for problem in problems)

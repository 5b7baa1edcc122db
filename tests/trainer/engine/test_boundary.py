import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.limits import full_disk
from tests.trainer.engines import RECIPE, built, together, weights
from trainer.checkpoint import files, store
from trainer.checkpoint.holder import FencedError
from trainer.engine.boundary import SaveFailedError
from trainer.engine.fit import Fit
from trainer.engine.loop import fit
from trainer.peers import PeerFailedError
from trainer.rundir import RunDirectory
from trainer.world import World


def save(parts: Fit, step: int, top1: float | None = None) -> None:
    parts.state.step = step
    parts.keeper.save(parts.keeper.rows(), top1)


def test_a_checkpoint_is_the_state_at_its_step_and_says_whose_network_it_is(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        before = weights(parts)
        save(parts, 3, top1=61.0)
        with torch.no_grad():
            next(parts.state.model.parameters()).zero_()
        parts.keeper.finish()
        stored = store.load_newest(RunDirectory(tmp_path).checkpoints)
        assert stored is not None
        said = {name: json.loads(text) for name, text in stored["about"].items()}
        assert (stored["step"], said["model"]["name"], said["classes"][0]) == (3, "resnet20", "n00_disk_stripes")
        assert said["input"].keys() == {"mean", "std", "eval_resize", "eval_crop", "interpolation"}
        assert stored["ranks"]["sums"].shape[0] == 1
        held = {f"{kind}.{name}": value for kind in ("model", "ema") for name, value in stored[kind].items()}
        assert held.keys() == before.keys()
        assert all(torch.equal(value, before[name]) for name, value in held.items())
        (newest,) = files.newest_first(RunDirectory(tmp_path).checkpoints)
        assert files.read_manifest(newest).top1 == 61.0


def test_the_end_waits_for_the_last_checkpoint_and_says_why_there_is_none(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        with full_disk(10_000):
            save(parts, 1)
            with pytest.raises(SaveFailedError, match=r"step 1 was not written: (?s:.*)\n  the same command goes on"):
                parts.keeper.finish()
        save(parts, 2)
        parts.keeper.finish()
        assert [path.name for path in parts.context.run.checkpoints.iterdir()] == ["step-0000000002"]


def test_a_failure_is_said_once_and_training_goes_on_to_the_end(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saves of steps 3, 4, 6 and 8, of which the last would be the result's."""
    with built(images, tmp_path, save_steps=3) as parts:
        with full_disk(500_000), pytest.raises(SaveFailedError, match="step 8 was not written"):
            fit(parts)
        assert (parts.state.step, parts.state.evaluated) == (8, 2)
        said = Counter(re.findall(r"step (\d) was not written", capsys.readouterr().out))
    assert said
    assert set(said) <= {"1", "3", "4", "6"}
    assert set(said.values()) == {1}


def test_a_failure_ends_the_run_where_the_site_wants_that(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path, replace(RECIPE, epochs=20), save_failure="stop") as parts:
        with full_disk(500_000), pytest.raises(SaveFailedError, match=r"the checkpoint of step [48] was not written"):
            fit(parts)
        assert parts.state.step < 20


def test_a_run_that_was_taken_over_ends(images: Path, tmp_path: Path) -> None:
    with pytest.raises(FencedError), built(images, tmp_path) as parts:
        holder = parts.context.run.holder
        holder.write_text(holder.read_text().replace('"token": "', '"token": "0'))
        save(parts, 5)
        parts.keeper.finish()


def test_a_slow_checkpoint_is_said_once_where_a_stop_would_leave_too_little_time(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVENET_GRACE_S", "1")
    with built(images, tmp_path) as parts:
        assert parts.keeper._saver is not None
        capsys.readouterr()
        for step in (1, 2, 3):
            save(parts, step)
            parts.keeper._saver.finish()
            parts.keeper._saver.write_s = 60.0  # as on a slow file system
        assert capsys.readouterr().out.count("raise --grace-s") == 1


def failing(world: World, images: Path, output: Path) -> list[str]:
    with built(images, output, world=world) as parts:
        ends = list[str]()
        for step in (1, 2):
            parts.state.step = step
            rows = parts.keeper.rows()
            assert [len(row) for row in rows.values()] == [2, 2, 2]
            with full_disk(10_000 if step == 1 else 10**9):
                parts.keeper.save(rows)
                try:
                    parts.keeper.finish()
                    ends.append("good")
                except (SaveFailedError, PeerFailedError) as error:
                    ends.append(type(error).__name__)
        return ends


@pytest.mark.slow
def test_where_rank_0_cannot_write_all_ranks_end_together(images: Path, tmp_path: Path) -> None:
    assert together(failing, images, tmp_path) == [["SaveFailedError", "good"], ["PeerFailedError", "good"]]
    stored = store.load_newest(RunDirectory(tmp_path).checkpoints)
    assert stored is not None
    assert stored["ranks"]["sums"].shape[0] == 2

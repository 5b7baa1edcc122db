import hashlib
import math
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
import torch

from data.plan.config import EvalViews
from data.types import TooManyBrokenError
from models import factory
from tests.data.making import imagined
from tests.trainer.engines import RECIPE, built, context, together, weights
from trainer import metrics
from trainer.engine import build
from trainer.engine import state as engine_state
from trainer.engine.loop import load, train_epoch, update
from trainer.engine.state import TrainState, restore
from trainer.optim.config import EmaConfig
from trainer.recipe.config import SiteConfig
from trainer.rundir import RunDirectory
from trainer.runtime import Runtime
from trainer.world import World


def fresh(seed: int = 0, ema: float | None = 0.9) -> TrainState:
    runtime = Runtime(World(), "fp32", threads=1)
    here = Path("/nowhere")
    recipe = replace(RECIPE, seed=seed, ema=EmaConfig(decay=ema))
    return build.train_state(recipe, SiteConfig(data=here, output=here), runtime)


def test_a_run_begins_with_the_weights_that_follow_from_its_seed() -> None:
    torch.manual_seed(3)
    expected = factory.build(RECIPE.model).state_dict()
    torch.rand(5)  # what was drawn before does not matter
    found = fresh(seed=3)
    assert all(torch.equal(value, expected[name]) for name, value in found.model.state_dict().items())
    assert not torch.equal(*(next(fresh(seed).model.parameters()) for seed in (3, 4)))


def test_a_run_begins_with_nothing_done() -> None:
    state = fresh()
    assert state.model.training
    assert (state.step, state.evaluated, state.broken, state.best_top1, state.scores) == (0, 0, 0, 0.0, {})
    assert state.sums.tolist() == [0] * metrics.FIELDS
    assert state.faults.tolist() == [-math.inf, 0]
    assert (state.sums.dtype, state.faults.dtype) == (torch.float64, torch.float64)
    assert not state.scaler.is_enabled()
    assert state.model.get_submodule("conv1").weight.is_contiguous(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
    assert {group["lr"] for group in state.optimizer.param_groups} == {RECIPE.optimizer.lr}


def test_there_is_an_average_where_the_recipe_has_one_and_it_begins_as_the_network() -> None:
    assert fresh(ema=None).ema is None
    state = fresh()
    assert state.ema is not None
    assert not state.ema.network.training
    pairs = zip(state.ema.network.state_dict().values(), state.model.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("images", "world_size", "batch"), [(1000, 1, 64), (64, 1, 64), (63, 1, 63), (100, 2, 50), (101, 2, 51), (3, 4, 1)]
)
def test_plans_are_those_of_the_recipe_and_of_this_process(
    images: int, world_size: int, batch: int, tmp_path: Path
) -> None:
    """A short split is evaluated in one batch of each process that holds no more than it has to."""
    alone = context(tmp_path, tmp_path)
    alone.runtime.world = World(world_size - 1, world_size, world_size - 1, world_size, launcher="torchrun", port=1)
    train, val = imagined(np.full(96, 50), np.full(96, 50)), imagined(np.full(images, 60), np.full(images, 60))
    plans = build.plans(alone, (train, val))
    assert plans[0].manifest is train
    assert (plans[0].config, plans[0].seed) == (RECIPE.input, RECIPE.seed)
    assert (plans[0].global_batch, plans[0].micro_batch) == (24, 12)
    assert plans[1].manifest is val
    assert (plans[1].views, plans[1].batch) == (EvalViews.of(RECIPE.input), batch)
    for plan in plans:
        assert (plan.shard.rank, plan.shard.world_size) == (world_size - 1, world_size)


def test_a_run_goes_on_from_its_newest_checkpoint(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path) as parts:
        for step in (2, 3):
            next(parts.state.model.parameters()).detach().fill_(step)
            parts.state.step = step
            parts.keeper.save(parts.keeper.rows())
        parts.keeper.finish()
        expected = weights(parts)
    with built(images, tmp_path) as again:
        assert again.state.step == 3
        assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())


def test_a_start_says_how_long_a_checkpoint_takes_and_bears_no_more_broken_images_than_the_site(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVENET_GRACE_S", "1")
    tree = shutil.copytree(images, tmp_path / "tree")
    with built(tree, tmp_path / "run", max_broken=0.0) as parts:
        assert "and a stop leaves 1 s" in capsys.readouterr().out
        next((tree / "train").rglob("*.*")).write_bytes(b"no image")
        with pytest.raises(TooManyBrokenError, match=r"0\.000% may break"):
            train_epoch(parts)


def restored(world: World, images: Path, output: Path, pauses: tuple[float, ...], late: Path | None) -> str:
    """How a start ends where rank 1 sees an older checkpoint, for ever or until it sees `late`, or all see the same."""
    engine_state.LOOK_AGAIN_S = pauses
    made = context(images, output, world=world)
    state = build.train_state(RECIPE, made.site, made.runtime)
    if late and world.rank == 1:
        Timer(0.3, lambda: late.rename(output / "1" / "checkpoints" / late.name)).start()
    try:
        restore(state, RECIPE, RunDirectory(output / str(world.rank)).checkpoints, made.runtime)
        return str(state.step)
    except RuntimeError as error:
        return str(error)
    finally:
        made.runtime.close()


@pytest.mark.slow
def test_ranks_that_see_different_checkpoints_do_not_train(images: Path, tmp_path: Path) -> None:
    with built(images, tmp_path / "0") as parts:
        for _ in range(2):
            train_epoch(parts)
            parts.keeper.save(parts.keeper.rows())
        parts.keeper.finish()
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    assert together(restored, images, tmp_path, (0.0,), None) == ["8", "8"]
    late = (tmp_path / "1" / "checkpoints" / "step-0000000008").rename(tmp_path / "step-0000000008")
    first, second = together(restored, images, tmp_path, (0.0, 0.1), None)
    assert first.startswith("rank 0 sees step 8 in ")
    assert second.startswith("rank 1 sees step 4 in ")
    assert second.endswith("other ranks another; start again")
    assert together(restored, images, tmp_path, (0.0, 3.0), late) == ["8", "8"]


def trained(world: World, images: Path, output: Path, last: int) -> str:
    """The weights after step `last` as a hash; the first step is saved."""
    wide = replace(RECIPE.model, name="resnet18")  # 45 MB of gradients: DDP sums them in several buckets
    with built(images, output, replace(RECIPE, model=wide, micro_batch=8), world=world) as parts:
        batches = parts.train_loader.epoch(0, parts.state.step * parts.plan.batches_per_step)
        while parts.state.step < last:
            update(parts, load(parts, batches), 0.1, observe=False)
            if parts.state.step == 1:
                parts.keeper.save(parts.keeper.rows())
                parts.keeper.finish()
        weights = (weight.detach().contiguous().numpy().tobytes() for weight in parts.state.model.parameters())
        return hashlib.sha256(b"".join(weights)).hexdigest()


@pytest.mark.slow
def test_three_ranks_that_go_on_compute_the_bits_of_those_that_were_not_stopped(images: Path, tmp_path: Path) -> None:
    """They sum each part of a bucket in another order, and DDP arranges its buckets after its first pass."""
    whole, rest = (together(trained, images, tmp_path, 3, size=3) for _ in range(2))
    assert len({*whole, *rest}) == 1

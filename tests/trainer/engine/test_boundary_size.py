from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.checkpoint.snapshot import tree_bytes
from trainer.console import Console
from trainer.context import RunContext
from trainer.engine import build
from trainer.engine.boundary import advise_grace, checkpoint_bytes
from trainer.optim.config import AdamWConfig, EmaConfig
from trainer.recipe.config import Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.stopping import StopFlag
from trainer.world import World


@pytest.mark.parametrize(("grace_s", "said"), [("1", "MB takes"), ("3600", ""), (None, "")])
def test_a_run_says_at_its_start_if_a_stop_leaves_too_little_time_to_save(
    grace_s: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(model=replace(Recipe().model, name="resnet20"), precision="fp32")
    site, runtime = SiteConfig(data=tmp_path, output=tmp_path), Runtime(World(), "fp32", threads=1)
    context = RunContext(recipe=recipe, site=site, runtime=runtime, stop=StopFlag(), console=Console())
    context.run.make()
    monkeypatch.setenv("PROVENET_GRACE_S", grace_s or "")
    advise_grace(context, checkpoint_bytes(build.train_state(recipe, site, runtime), world_size=1))
    shown = capsys.readouterr().out
    assert said in shown
    assert ("raise --grace-s to" in shown) == bool(said)
    assert not list(tmp_path.rglob("*"))


def test_the_memory_that_is_taken_for_checkpoints_holds_one(tmp_path: Path) -> None:
    """With all of an optimizer's moments, and what each rank has of its own."""
    recipe = Recipe(
        model=replace(Recipe().model, name="resnet20"),
        precision="fp32",
        ema=EmaConfig(decay=0.9),
        optimizer=AdamWConfig(),
    )
    state = build.train_state(recipe, SiteConfig(data=tmp_path, output=tmp_path), Runtime(World(), "fp32", threads=1))
    count = checkpoint_bytes(state, world_size=3)
    for weight in state.model.parameters():
        weight.grad = torch.zeros_like(weight)
    state.optimizer.step()
    rows = {name: torch.stack([own] * 3) for name, own in state.own().items()}
    held = tree_bytes(state.tree(rows, {}))
    assert held <= count < 1.5 * held

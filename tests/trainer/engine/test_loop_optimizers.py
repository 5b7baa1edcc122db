"""Runs with timm's optimizers, which are stopped and go on from their checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config import ModelConfig
from tests.trainer.engine.test_loop import stop_in
from tests.trainer.engines import RECIPE, built, together, weights
from trainer.engine.loop import fit
from trainer.optim.config import CosineScheduleConfig, EmaConfig, TimmConfig
from trainer.recipe.config import Recipe
from trainer.world import World


def recipe(method: str) -> Recipe:
    """Layers at rates of their own, and what the network names without decay."""
    return replace(
        RECIPE,
        model=ModelConfig(
            name="timm/test_vit", num_classes=4, img_size=32, drop_path=0.1, options=("init_values=0.1",)
        ),
        optimizer=TimmConfig(method=method, lr=1e-3, weight_decay=0.05, layer_decay=0.9, no_decay="network"),
        schedule=CosineScheduleConfig(warmup_epochs=1, warmup_lr=1e-5, warmup="timm", by="epoch"),
        ema=EmaConfig(),
    )


def trained(world: World, images: Path, output: Path, method: str, stop: int | None) -> dict[str, torch.Tensor]:
    with built(images, output, recipe(method), world, log_every=8) as parts:
        if stop is not None:
            stop_in(parts, stop)
        assert fit(parts) == (stop is None)
        return weights(parts)


@pytest.mark.parametrize("method", ["lion", "muon"])  # the others: test_optimizer.py
def test_a_run_resumes_bit_for_bit(method: str, images: Path, tmp_path: Path) -> None:
    whole = trained(World(), images, tmp_path / "whole", method, None)
    half = trained(World(), images, tmp_path / "half", method, 2)
    resumed = trained(World(), images, tmp_path / "half", method, None)
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())
    assert not all(torch.equal(value, whole[name]) for name, value in half.items())


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit(images: Path, tmp_path: Path) -> None:
    method = "adan"
    whole = together(trained, images, tmp_path / "whole", method, None)
    together(trained, images, tmp_path / "half", method, 2)
    for rank in together(trained, images, tmp_path / "half", method, None):
        assert all(torch.equal(value, whole[0][name]) for name, value in rank.items())

from dataclasses import replace
from pathlib import Path

import pytest

from models import registry
from tests.system.drill.small import CLASSES, draw, small
from trainer.optim.config import EmaConfig, MixingConfig
from trainer.recipe import recipes
from trainer.recipe.checks import recipe_problems, world_problems
from trainer.recipe.config import Recipe


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_recipe_has_a_small_form_that_can_be_trained(name: str, world_size: int) -> None:
    found = small(recipes.load(name), world_size)
    assert recipe_problems(found) == []
    assert world_problems(found, world_size) == []
    assert registry.problems(found.model, found.input.train_size) == []
    assert found.global_batch <= 10 * world_size


@pytest.mark.parametrize(("name", "size"), [("resnet20", 32), ("resnet50", 32), ("inception_v3", 299)])
def test_images_are_as_small_as_the_network_takes_them(name: str, size: int) -> None:
    recipe = Recipe(model=replace(Recipe().model, name=name))
    assert small(recipe, 2).input.train_size == size


def test_what_a_restart_could_lose_stays() -> None:
    recipe = Recipe(
        ema=EmaConfig(decay=0.9), mixing=MixingConfig(mixup=0.2), precision="bf16", clip_norm=1.0, global_batch=256
    )
    found = small(recipe, 2)
    kept = ("optimizer", "loss", "mixing", "ema", "clip_norm", "precision", "seed", "sync_bn", "gradient_compression")
    assert [name for name in kept if getattr(found, name) != getattr(recipe, name)] == []
    assert found.input.augment == recipe.input.augment
    assert found.accumulation(2) == 2
    assert small(replace(recipe, global_batch=64), 2).accumulation(2) == 1


def test_the_images_are_drawn_once(tmp_path: Path) -> None:
    draw(tmp_path / "images")
    files = sorted((tmp_path / "images").rglob("*.JPEG"))
    assert len({file.parent.name for file in files}) == CLASSES
    before = [file.stat().st_mtime_ns for file in files]
    draw(tmp_path / "images")
    assert [file.stat().st_mtime_ns for file in files] == before

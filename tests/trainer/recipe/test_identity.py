from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from trainer.initial import fingerprint
from trainer.recipe import recipes
from trainer.recipe.config import Recipe
from trainer.recipe.decode import decode
from trainer.recipe.identity import recipe_hash, weights_hash


def test_the_hash_of_a_file_is_that_of_the_network_in_it(tmp_path: Path) -> None:
    convolution = nn.Conv2d(3, 4, 3)
    network = nn.Sequential(convolution, nn.BatchNorm2d(4))  # with a scalar of whole numbers among its buffers
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    assert weights_hash(tmp_path / "model.safetensors") == fingerprint(network.state_dict())
    nn.init.zeros_(convolution.weight)
    assert weights_hash(tmp_path / "model.safetensors") != fingerprint(network.state_dict())


def test_a_damaged_file_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(SafetensorError):
        weights_hash(tmp_path / "model.safetensors")


def test_recipes_that_differ_in_any_field_have_other_hashes() -> None:
    assert recipe_hash(Recipe(seed=1)) == recipe_hash(Recipe(seed=1)) != recipe_hash(Recipe(seed=2))


def test_the_hash_of_a_recipe_is_that_of_the_version_that_published_it() -> None:
    """A setting that came later does not change it, unless it departs from its default."""
    later = "give a new field the default None, or list it with its default in LATER of trainer/recipe/identity.py"
    assert recipe_hash(recipes.load("resnet50")).startswith("5c28888232a8"), later
    assert recipe_hash(recipes.load("resnet50_v2")).startswith("f6299b770eef")
    default = Recipe()
    assert recipe_hash(default) == "1a2c021be0a16441c7b21f66a021ff7d5d378dda7aa02cad2e62c4e2e8a0bbb6"
    departures = [{"interpolation": "random"}, {"interpolation": "bicubic"}, {"eval_interpolation": "bicubic"}]
    departures += [{"augment": {"erasing_fill": "noise"}}, {"augment": {"randaugment_std": 0.5}}]
    others = [decode(Recipe, {"input": departure}) for departure in departures]
    others.append(Recipe(gradient_checkpointing=True))
    assert len({recipe_hash(recipe) for recipe in (default, *others)}) == len(departures) + 2

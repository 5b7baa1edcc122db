from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.plan.network_size import Network, checkpoint_bytes, copies, gradient_bytes, memory_bytes, weigh
from models.config import ModelConfig
from trainer.checkpoint import files, store
from trainer.engine import build
from trainer.engine.state import TrainState
from trainer.optim.config import (
    AdamWConfig,
    AnyOptimizer,
    EmaConfig,
    LambConfig,
    LarsConfig,
    RmspropTfConfig,
    SgdConfig,
    TimmConfig,
)
from trainer.recipe.config import Precision, Recipe, SiteConfig
from trainer.runtime import Runtime
from trainer.world import World

KINDS: list[tuple[AnyOptimizer, int]] = [
    (SgdConfig(), 1),
    (SgdConfig(momentum=0.0), 0),
    (AdamWConfig(), 2),
    (LarsConfig(), 1),
    (LambConfig(), 2),
    (RmspropTfConfig(), 2),
    (RmspropTfConfig(momentum=0.0), 1),
    *((TimmConfig(method=method), count) for method, count in (("lion", 1), ("muon", 1), ("adan", 4), ("nadamw", 2))),
]


# NVIDIA's DeepLearningExamples train ResNet-50 on V100s of 16 GB with 256 images in AMP and 112 in FP32
@pytest.mark.parametrize(("precision", "most"), [("fp16", 256), ("fp32", 112)])
def test_what_is_known_to_fit_into_16_gigabytes_does(precision: Precision, most: int) -> None:
    def needed(images: int) -> float:
        recipe = Recipe(precision=precision, micro_batch=images)
        return sum(memory_bytes(weigh(recipe), recipe)) / 1e9 + 1

    assert needed(most) < 16 < needed(2 * most)


def stepped(recipe: Recipe) -> TrainState:
    """A run after its first step."""
    site = SiteConfig(data=Path(), output=Path())
    state = build.train_state(recipe, site, Runtime(World(), "fp32", 1))
    for weight in state.model.parameters():
        weight.grad = torch.ones_like(weight)
    state.optimizer.step()
    return state


def test_a_network_is_counted_as_its_builders_count_it() -> None:
    # torchvision's resnet18 has 11,689,512 weights and 1.81 billion multiply-adds; BatchNorm after its 20 convolutions
    # normalises 4,800 channels, and counts its batches in 20 numbers of eight bytes
    assert weigh(Recipe(model=ModelConfig(name="resnet18"))) == Network(
        parameters=11_689_512,
        statistics=9_600,
        state_bytes=4 * (11_689_512 + 9_600) + 8 * 20,
        multiply_adds=1_814_073_344,
        saved=5_549_760,
    )


def test_multiply_adds_are_those_of_the_image_size() -> None:
    recipe = Recipe(model=ModelConfig(name="resnet20", num_classes=10))
    sizes = (replace(recipe, input=replace(recipe.input, train_size=size)) for size in (32, 64))
    small, large = (weigh(sized).multiply_adds for sized in sizes)
    classifier = 64 * 10
    assert large - classifier == 4 * (small - classifier)


def test_frozen_weights_have_neither_gradients_nor_momenta_and_need_no_activations() -> None:
    whole = Recipe(model=ModelConfig(name="resnet20", num_classes=10))
    probe = weigh(replace(whole, init=replace(whole.init, freeze=("backbone",))))
    assert (probe.parameters, probe.state_bytes) == (650, weigh(whole).state_bytes)
    assert probe.saved < weigh(whole).saved / 100


def test_gradient_checkpointing_keeps_less_of_an_image() -> None:
    whole = Recipe(model=ModelConfig(name="timm/vit_tiny_patch16_224"))
    assert weigh(replace(whole, gradient_checkpointing=True)).saved < weigh(whole).saved / 5


@pytest.mark.parametrize(("optimizer", "expected"), KINDS)
def test_an_optimizer_keeps_so_many_numbers_for_each_weight(optimizer: AnyOptimizer, expected: int) -> None:
    state = stepped(Recipe(model=ModelConfig(name="resnet20", num_classes=10), optimizer=optimizer))
    kept: list[dict[str, Any]] = list(state.optimizer.state_dict()["state"].values())
    numbers = sum(value.numel() for entry in kept for value in entry.values() if isinstance(value, torch.Tensor))
    weights = sum(weight.numel() for weight in state.model.parameters())
    assert copies(optimizer) == expected == round(numbers / weights)


@pytest.mark.parametrize("world_size", [1, 64])
def test_the_size_is_that_of_a_real_checkpoint(tmp_path: Path, world_size: int) -> None:
    recipe = Recipe(model=ModelConfig(name="resnet110", num_classes=10), ema=EmaConfig(decay=0.99))
    state = stepped(recipe)
    ranks = {name: torch.stack([value] * world_size) for name, value in state.own().items()}
    path = store.write(tmp_path, 1, state.tree(ranks, {"name": "resnet110"}))
    expected = checkpoint_bytes(weigh(recipe), recipe, world_size)
    # names and headers of 2,000 tensors are not counted; they are a thousandth of ResNet-50's
    assert expected < files.bytes_of(path) < expected * 1.05


def test_gradients_are_float32_unless_compressed() -> None:
    network = Network(parameters=1000, statistics=0, state_bytes=0, multiply_adds=0, saved=0)
    assert gradient_bytes(network, Recipe()) == 4000
    assert gradient_bytes(network, Recipe(gradient_compression="fp16")) == 2000

"""What a user registers is used as the page says, or refused where it cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.load.augment import apply
from data.plan.config import AugmentConfig, InputConfig
from data.plan.draws import Stream, uniforms
from data.plan.policies import DRAWS, choices
from models import factory, registry
from models.config import ModelConfig
from trainer import imports, preflight
from trainer.optim.config import LossConfig, TimmConfig
from trainer.optim.loss import losses
from trainer.recipe.config import Recipe

OWN = """
import torch
from trainer.extend import Op, loss, network, optimizer, policy

@loss("mean")
def mean(logits, shares):
    return (logits * shares).mean()

@loss("dot")
def dot(logits, shares):
    return (logits * shares).sum(1)

@optimizer("forgets")
class Forgets(torch.optim.SGD):
    def __init__(self, params, lr, power=1.0):
        super().__init__(params, lr)
        self.factor, self.power = 1.0, power

    def step(self):
        self.factor *= 0.5**self.power
        for group in self.param_groups:
            group["lr"] *= self.factor
        super().step()

@optimizer("heavy")
class Heavy(torch.optim.SGD):
    def __init__(self, params, lr, power=0.5):
        super().__init__(params, lr, momentum=power)

def smaller(images, magnitudes):
    return images[:, :, 1:]

def grey(images, magnitudes):
    return images.float().mean(1, keepdim=True).to(images.dtype).expand_as(images)

policy("smaller", ((smaller, 1.0, 0), (Op.NONE, 0.0, 0)))
policy("grey", ((grey, 0.2, 0), (Op.NONE, 0.0, 0)), ((grey, 0.2, 9), (Op.NONE, 0.0, 0)))

network("maps")(lambda num_classes, in_channels: torch.nn.Conv2d(in_channels, num_classes, 1))

class Choosy(torch.nn.Linear):
    def forward(self, images):
        if images.mean() > 0:
            return super().forward(images.flatten(1))

@network("choosy")
def choosy(num_classes, in_channels, dropout=0.5):
    return Choosy(3, num_classes + round(dropout))

network("list")(lambda num_classes, in_channels: [])
"""


@pytest.fixture
def own(tmp_path: Path, forgotten: None) -> None:  # noqa: ARG001 - which comes first
    (tmp_path / "own.py").write_text(OWN)
    imports.resolved(Recipe(), [tmp_path / "own.py"], None)


def recipe(**settings: Any) -> Recipe:
    return Recipe(**{"model": ModelConfig(name="resnet20", num_classes=4), **settings})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            recipe(loss=LossConfig(name="mean")),
            "loss.name: mean fails: ValueError: for 2 images it returns () torch.float",
        ),
        (recipe(loss=LossConfig(name="dot")), None),
        (
            recipe(optimizer=TimmConfig(method="forgets")),
            "optimizer.method: forgets fails: ValueError: what it knows of",
        ),
        (recipe(optimizer=TimmConfig(method="heavy", options=("power=0.9",))), None),
        (
            recipe(optimizer=TimmConfig(method="heavy", weight_decay=0.1)),
            "takes no weight_decay, and the recipe's is",
        ),
        (recipe(optimizer=TimmConfig(method="heavy", options=("pwer=1",))), "no argument pwer; did you mean power?"),
        (
            recipe(input=InputConfig(augment=AugmentConfig(policy="smaller"))),
            "input.augment.policy: smaller fails: ValueError: for 2 images it returns (2, 3, 7, 8) torch.uint8",
        ),
        (
            recipe(model=ModelConfig(name="maps", num_classes=4)),
            ", 4, 224, 224); expected logits (",
        ),
        (
            recipe(model=ModelConfig(name="list", num_classes=4)),
            "model.name: list cannot be built: TypeError: returned a",
        ),
        (
            recipe(model=ModelConfig(name="choosy", num_classes=4)),
            "own.py, line 43: RuntimeError: Tensor.item() cannot be",
        ),
        (recipe(model=ModelConfig(name="resnet20", num_classes=4)), None),
    ],
)
@pytest.mark.usefixtures("own")
def test_what_fails_is_refused_before_the_run(asked: Recipe, said: str | None) -> None:
    problems = preflight.size_problems(asked)
    assert [str(said) in problem for problem in problems] == [True] * len(problems)
    assert bool(problems) == bool(said)


@pytest.mark.usefixtures("own")
def test_a_loss_gets_smoothed_shares_of_the_classes_whether_or_not_images_are_mixed() -> None:
    logits, mixed = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    config = LossConfig(name="dot", label_smoothing=0.2)
    # shares 0.1 and 0.9; of the mixed ones 0.3 and 0.7, 0.9 and 0.1
    torch.testing.assert_close(losses(logits, torch.tensor([1, 0]), config), torch.tensor([1.9, 3.2]))
    torch.testing.assert_close(losses(logits, mixed, config), torch.tensor([1.7, 3.2]))


@pytest.mark.usefixtures("own")
def test_fields_of_the_model_are_arguments_of_a_network() -> None:
    problems = registry.option_problems(ModelConfig(name="choosy", drop_path=0.1))
    assert problems == ["model.drop_path: choosy has no such option; it takes dropout, options"]
    assert factory.build(ModelConfig(name="choosy", num_classes=4, dropout=0.9)).out_features == 5


@pytest.mark.usefixtures("own")
def test_an_augmentation_is_drawn_with_its_probability_and_applied() -> None:
    found = choices(AugmentConfig(policy="grey"), uniforms(0, 0, Stream.AUGMENT, range(500), DRAWS), 16)
    assert found
    images = torch.randint(0, 256, (500, 16, 16, 3), dtype=torch.uint8)
    apply(images, found, (0, 0, 0))
    share = (images == images[..., :1]).all(dim=(1, 2, 3)).float().mean().item()
    assert 0.15 < share < 0.25
    assert set(np.unique(found.magnitudes)) == {0.0, 1.0}
